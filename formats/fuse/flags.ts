/** Flags of the messages, in the names of Linux include/uapi/linux/fuse.h without their prefixes. */

/** `FUSE_*` of INIT, bits 0 to 31: `flags`. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  SPLICE_WRITE: 1 << 7,
  SPLICE_MOVE: 1 << 8,
  SPLICE_READ: 1 << 9,
  FLOCK_LOCKS: 1 << 10,
  HAS_IOCTL_DIR: 1 << 11,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  HANDLE_KILLPRIV: 1 << 19,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  MAP_ALIGNMENT: 1 << 26,
  SUBMOUNTS: 1 << 27,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** `FUSE_*` of INIT, bits 32 to 63, shifted down: `flags2`. */
export const InitFlag2 = {
  SECURITY_CTX: 1 << 0,
  HAS_INODE_DAX: 1 << 1,
  CREATE_SUPP_GROUP: 1 << 2,
  HAS_EXPIRE_ONLY: 1 << 3,
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
  NO_EXPORT_SUPPORT: 1 << 6,
  HAS_RESEND: 1 << 7,
  ALLOW_IDMAP: 1 << 8,
  OVER_IO_URING: 1 << 9,
  REQUEST_TIMEOUT: 1 << 10,
} as const;

/** `FATTR_*`: what SETATTR sets. */
export const SetattrFlag = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** `FOPEN_*`: what a server says of a file it has opened. */
export const OpenReplyFlag = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
  PASSTHROUGH: 1 << 7,
} as const;

/** `FUSE_GETATTR_FH`: the file handle is valid. */
export const GETATTR_FH = 1 << 0;
/** `FUSE_OPEN_KILL_SUIDGID` of `fuse_open_in.open_flags`. */
export const OPEN_KILL_SUIDGID = 1 << 0;
/** `FUSE_WRITE_*` of `fuse_write_in.write_flags`. */
export const WriteFlag = { CACHE: 1 << 0, LOCKOWNER: 1 << 1, KILL_SUIDGID: 1 << 2 } as const;
/** `FUSE_RELEASE_*` of `fuse_release_in.release_flags`. */
export const ReleaseFlag = { FLUSH: 1 << 0, FLOCK_UNLOCK: 1 << 1 } as const;
/** `FUSE_FSYNC_FDATASYNC`. */
export const FSYNC_FDATASYNC = 1 << 0;
/** `FUSE_LK_FLOCK`. */
export const LK_FLOCK = 1 << 0;
/** `FUSE_ATTR_*` of `fuse_attr.flags`. */
export const AttrFlag = { SUBMOUNT: 1 << 0, DAX: 1 << 1 } as const;
/** `FUSE_SETXATTR_ACL_KILL_SGID`. */
export const SETXATTR_ACL_KILL_SGID = 1 << 0;
/** `FUSE_SETUPMAPPING_FLAG_*`. */
export const SetupMappingFlag = { WRITE: 1 << 0, READ: 1 << 1 } as const;
/** `FUSE_IOCTL_*` of `fuse_ioctl_in.flags`. */
export const IoctlFlag = {
  COMPAT: 1 << 0,
  UNRESTRICTED: 1 << 1,
  RETRY: 1 << 2,
  IS_32BIT: 1 << 3,
  DIR: 1 << 4,
  COMPAT_X32: 1 << 5,
} as const;

/** `enum fuse_ext_type` above the security contexts: `FUSE_EXT_GROUPS`. */
export const EXT_GROUPS = 32;
/** `FUSE_MAX_NR_SECCTX`: extensions of a type up to this hold that many security contexts. */
export const MAX_NR_SECCTX = 31;
