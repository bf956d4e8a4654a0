import { constants } from "node:fs";
import { constants as os } from "node:os";

/** Numbers of Linux that this folder needs; those of open(2) that differ between machines come from Node.js. */
export const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NONBLOCK, O_DSYNC, O_SYNC } =
  constants;
export const { O_DIRECT, O_DIRECTORY, O_NOFOLLOW, O_NOATIME } = constants;
export const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK } = constants;
export const O_ACCMODE = 3;
export const O_CLOEXEC = 0x80000;
export const O_PATH = 0x200000;
export const O_TMPFILE = 0x400000 | O_DIRECTORY;

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;

/** STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID. */
export const STATX_MASK = 0x7ff | 0x800 | 0x1000;
export const STATX_ATTR_MOUNT_ROOT = 0x2000;
/** `struct statx`, Linux include/uapi/linux/stat.h. */
export const Statx = {
  mask: 0,
  blksize: 4,
  attributes: 8,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  attributesMask: 56,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdevMajor: 128,
  rdevMinor: 132,
  devMajor: 136,
  devMinor: 140,
  mntId: 144,
  bytes: 256,
} as const;

/** Names of a directory and links have at most this many bytes. */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** Error numbers, positive. */
export const {
  E2BIG,
  EPERM,
  ENOENT,
  EINTR,
  EIO,
  EBADF,
  EAGAIN,
  ENOMEM,
  EACCES,
  EWOULDBLOCK,
  EEXIST,
  EXDEV,
  ENOTDIR,
  EISDIR,
  EINVAL,
  ENFILE,
  EMFILE,
  ENODEV,
  ENOTTY,
  ENOSPC,
  EROFS,
  ENAMETOOLONG,
  ENOSYS,
  ELOOP,
  ERANGE,
  ENODATA,
  EOVERFLOW,
  ESTALE,
  EOPNOTSUPP,
} = os.errno;
