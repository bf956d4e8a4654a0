/**
 * The messages of the FUSE protocol 7.45, in the names of Linux include/uapi/linux/fuse.h. Every request starts with
 * InHeader, every reply and notification with OutHeader.
 *
 * File handles and node IDs are the server's own numbers and stay below 2^53; what a kernel sends beyond is a FormatError
 * when it is read. A request's `unique` is an opaque bigint: code that only echoes it copies its 8 bytes.
 */
import { struct } from "../bytes/index.ts";

/** `FUSE_KERNEL_VERSION`. */
export const FUSE_MAJOR = 7;
/** The newest minor version that this code knows: `FUSE_KERNEL_MINOR_VERSION` of Linux 6.18. */
export const FUSE_MINOR = 45;
/** The oldest minor version that is served: flags2 and extended requests (Linux 5.17). */
export const FUSE_MIN_MINOR = 36;
/** `FUSE_ROOT_ID`: the root's node ID. */
export const ROOT_ID = 1;
/** `FUSE_MIN_READ_BUFFER`, in bytes. */
export const MIN_READ_BUFFER = 8192;

export const InHeader = struct("fuse_in_header", 40, {
  len: "u32",
  opcode: "u32",
  unique: "u64",
  nodeid: "u53",
  uid: "u32",
  gid: "u32",
  pid: "u32",
  totalExtlen: "u16",
  padding: "u16",
});

export const OutHeader = struct("fuse_out_header", 16, { len: "u32", error: "i32", unique: "u64" });

export const Attr = struct("fuse_attr", 88, {
  ino: "u53",
  size: "u53",
  blocks: "u53",
  atime: "i53",
  mtime: "i53",
  ctime: "i53",
  atimensec: "u32",
  mtimensec: "u32",
  ctimensec: "u32",
  mode: "u32",
  nlink: "u32",
  uid: "u32",
  gid: "u32",
  rdev: "u32",
  blksize: "u32",
  flags: "u32",
});

/** `struct fuse_entry_out`; its `attr` lies at ENTRY_ATTR. */
export const EntryOut = struct("fuse_entry_out", 128, {
  nodeid: "u53",
  generation: "u53",
  entryValid: "u53",
  attrValid: "u53",
  entryValidNsec: "u32",
  attrValidNsec: "u32",
  attr: "bytes88",
});

export const AttrOut = struct("fuse_attr_out", 104, {
  attrValid: "u53",
  attrValidNsec: "u32",
  dummy: "u32",
  attr: "bytes88",
});

export const InitIn = struct("fuse_init_in", 64, {
  major: "u32",
  minor: "u32",
  maxReadahead: "u32",
  flags: "u32",
  flags2: "u32",
  unused: "bytes44",
});
/** Bytes of INIT without `flags2`, as older kernels send it. */
export const COMPAT_INIT_IN_BYTES = 16;

export const InitOut = struct("fuse_init_out", 64, {
  major: "u32",
  minor: "u32",
  maxReadahead: "u32",
  flags: "u32",
  maxBackground: "u16",
  congestionThreshold: "u16",
  maxWrite: "u32",
  timeGran: "u32",
  maxPages: "u16",
  mapAlignment: "u16",
  flags2: "u32",
  maxStackDepth: "u32",
  requestTimeout: "u16",
  unused: "bytes22",
});

export const ForgetIn = struct("fuse_forget_in", 8, { nlookup: "u53" });
export const BatchForgetIn = struct("fuse_batch_forget_in", 8, { count: "u32", dummy: "u32" });
export const ForgetOne = struct("fuse_forget_one", 16, { nodeid: "u53", nlookup: "u53" });

export const GetattrIn = struct("fuse_getattr_in", 16, { getattrFlags: "u32", dummy: "u32", fh: "u53" });

export const SetattrIn = struct("fuse_setattr_in", 88, {
  valid: "u32",
  padding: "u32",
  fh: "u53",
  size: "u53",
  lockOwner: "u64",
  atime: "i53",
  mtime: "i53",
  ctime: "i53",
  atimensec: "u32",
  mtimensec: "u32",
  ctimensec: "u32",
  mode: "u32",
  unused4: "u32",
  uid: "u32",
  gid: "u32",
  unused5: "u32",
});

export const MknodIn = struct("fuse_mknod_in", 16, { mode: "u32", rdev: "u32", umask: "u32", padding: "u32" });
export const MkdirIn = struct("fuse_mkdir_in", 8, { mode: "u32", umask: "u32" });
export const RenameIn = struct("fuse_rename_in", 8, { newdir: "u53" });
export const Rename2In = struct("fuse_rename2_in", 16, { newdir: "u53", flags: "u32", padding: "u32" });
export const LinkIn = struct("fuse_link_in", 8, { oldnodeid: "u53" });

export const OpenIn = struct("fuse_open_in", 8, { flags: "u32", openFlags: "u32" });
export const CreateIn = struct("fuse_create_in", 16, { flags: "u32", mode: "u32", umask: "u32", openFlags: "u32" });
export const OpenOut = struct("fuse_open_out", 16, { fh: "u53", openFlags: "u32", backingId: "i32" });
export const ReleaseIn = struct("fuse_release_in", 24, {
  fh: "u53",
  flags: "u32",
  releaseFlags: "u32",
  lockOwner: "u64",
});
export const FlushIn = struct("fuse_flush_in", 24, { fh: "u53", unused: "u32", padding: "u32", lockOwner: "u64" });

export const ReadIn = struct("fuse_read_in", 40, {
  fh: "u53",
  offset: "u53",
  size: "u32",
  readFlags: "u32",
  lockOwner: "u64",
  flags: "u32",
  padding: "u32",
});
export const WriteIn = struct("fuse_write_in", 40, {
  fh: "u53",
  offset: "u53",
  size: "u32",
  writeFlags: "u32",
  lockOwner: "u64",
  flags: "u32",
  padding: "u32",
});
export const WriteOut = struct("fuse_write_out", 8, { size: "u32", padding: "u32" });

/** `struct fuse_kstatfs`, all of STATFS's reply. */
export const Kstatfs = struct("fuse_kstatfs", 80, {
  blocks: "u53",
  bfree: "u53",
  bavail: "u53",
  files: "u53",
  ffree: "u53",
  bsize: "u32",
  namelen: "u32",
  frsize: "u32",
  padding: "u32",
  spare: "bytes24",
});

export const FsyncIn = struct("fuse_fsync_in", 16, { fh: "u53", fsyncFlags: "u32", padding: "u32" });

/** `struct fuse_setxattr_in` with SETXATTR_EXT; without, it ends after `flags`. */
export const SetxattrIn = struct("fuse_setxattr_in", 16, {
  size: "u32",
  flags: "u32",
  setxattrFlags: "u32",
  padding: "u32",
});
export const COMPAT_SETXATTR_IN_BYTES = 8;
export const GetxattrIn = struct("fuse_getxattr_in", 8, { size: "u32", padding: "u32" });
export const GetxattrOut = struct("fuse_getxattr_out", 8, { size: "u32", padding: "u32" });

/** `struct fuse_lk_in`: a lock's range and owner. `end` is inclusive and 2^63 - 1 for the end of the file. */
export const LkIn = struct("fuse_lk_in", 48, {
  fh: "u53",
  owner: "u64",
  start: "u64",
  end: "u64",
  type: "u32",
  pid: "u32",
  lkFlags: "u32",
  padding: "u32",
});
export const LkOut = struct("fuse_lk_out", 24, { start: "u64", end: "u64", type: "u32", pid: "u32" });

export const AccessIn = struct("fuse_access_in", 8, { mask: "u32", padding: "u32" });
export const InterruptIn = struct("fuse_interrupt_in", 8, { unique: "u64" });
export const BmapIn = struct("fuse_bmap_in", 16, { block: "u53", blocksize: "u32", padding: "u32" });

export const IoctlIn = struct("fuse_ioctl_in", 32, {
  fh: "u53",
  flags: "u32",
  cmd: "u32",
  arg: "u64",
  inSize: "u32",
  outSize: "u32",
});
export const IoctlOut = struct("fuse_ioctl_out", 16, { result: "i32", flags: "u32", inIovs: "u32", outIovs: "u32" });

export const PollIn = struct("fuse_poll_in", 24, { fh: "u53", kh: "u64", flags: "u32", events: "u32" });
export const PollOut = struct("fuse_poll_out", 8, { revents: "u32", padding: "u32" });

export const FallocateIn = struct("fuse_fallocate_in", 32, {
  fh: "u53",
  offset: "u53",
  length: "u53",
  mode: "u32",
  padding: "u32",
});
export const LseekIn = struct("fuse_lseek_in", 24, { fh: "u53", offset: "u53", whence: "u32", padding: "u32" });
export const LseekOut = struct("fuse_lseek_out", 8, { offset: "u53" });

export const CopyFileRangeIn = struct("fuse_copy_file_range_in", 56, {
  fhIn: "u53",
  offIn: "u53",
  nodeidOut: "u53",
  fhOut: "u53",
  offOut: "u53",
  len: "u53",
  flags: "u64",
});
export const CopyFileRangeOut = struct("fuse_copy_file_range_out", 8, { bytesCopied: "u53" });

/** `struct fuse_setupmapping_in`. Linux sends no handle: `fh` is 2^64 - 1, and the node ID names the file. */
export const SetupmappingIn = struct("fuse_setupmapping_in", 40, {
  fh: "u64",
  foffset: "u53",
  len: "u53",
  flags: "u53",
  moffset: "u53",
});
/** `struct fuse_removemapping_in`, followed by `count` RemovemappingOne. */
export const RemovemappingIn = struct("fuse_removemapping_in", 4, { count: "u32" });
export const RemovemappingOne = struct("fuse_removemapping_one", 16, { moffset: "u53", len: "u53" });

export const StatxIn = struct("fuse_statx_in", 24, {
  getattrFlags: "u32",
  reserved: "u32",
  fh: "u53",
  sxFlags: "u32",
  sxMask: "u32",
});
/** `struct fuse_statx_out`; its `struct fuse_statx` (FuseStatx) lies at byte 32. */
export const StatxOut = struct("fuse_statx_out", 288, {
  attrValid: "u53",
  attrValidNsec: "u32",
  flags: "u32",
  spare: "bytes16",
  stat: "bytes256",
});

/** `struct fuse_dirent`, followed by the name and padding to 8 bytes. */
export const Dirent = struct("fuse_dirent", 24, { ino: "u53", off: "u64", namelen: "u32", type: "u32" });
/** Bytes of a `fuse_dirent` with its name and padding. */
export function direntBytes(nameBytes: number): number {
  return (Dirent.size + nameBytes + 7) & ~7;
}
/** Bytes of a `fuse_direntplus`: an EntryOut before the dirent. */
export function direntplusBytes(nameBytes: number): number {
  return EntryOut.size + direntBytes(nameBytes);
}

/** `struct fuse_secctx_header` and `struct fuse_ext_header`: an extension's size, itself included, and type. */
export const ExtHeader = struct("fuse_ext_header", 8, { size: "u32", type: "u32" });
/** `struct fuse_supp_groups`, followed by that many group IDs (u32). */
export const SuppGroups = struct("fuse_supp_groups", 4, { nrGroups: "u32" });
/** `struct fuse_secctx`, followed by the name with its NUL and the context. */
export const Secctx = struct("fuse_secctx", 8, { size: "u32", padding: "u32" });

export const NotifyInvalInodeOut = struct("fuse_notify_inval_inode_out", 24, { ino: "u53", off: "i53", len: "i53" });
export const NotifyInvalEntryOut = struct("fuse_notify_inval_entry_out", 16, {
  parent: "u53",
  namelen: "u32",
  flags: "u32",
});
export const NotifyDeleteOut = struct("fuse_notify_delete_out", 24, {
  parent: "u53",
  child: "u53",
  namelen: "u32",
  padding: "u32",
});
export const NotifyStoreOut = struct("fuse_notify_store_out", 24, {
  nodeid: "u53",
  offset: "u53",
  size: "u32",
  padding: "u32",
});
