import { koffi, loadLibrary, type Native } from "./koffi.ts";

/**
 * The C library's calls on files, bare: they take addresses where C takes pointers, and answer a negative number when they
 * fail (see `errno`). For code that handles requests by the hundred thousand and keeps names, iovecs and structures in
 * memory of its own; all else uses node:fs.
 */
const SIGNATURES = {
  openat: ["int", "int", "address", "int", "u32"],
  close: ["int", "int"],
  statx: ["int", "int", "address", "int", "u32", "address"],
  fstatfs: ["int", "int", "address"],
  nameToHandleAt: ["int", "int", "address", "address", "address", "int"],
  openByHandleAt: ["int", "int", "address", "int"],
  preadv: ["long", "int", "address", "int", "off"],
  pwritev: ["long", "int", "address", "int", "off"],
  pread: ["long", "int", "address", "size", "off"],
  pwrite: ["long", "int", "address", "size", "off"],
  getdents64: ["long", "int", "address", "size"],
  lseek: ["long", "int", "off", "int"],
  readlinkat: ["long", "int", "address", "address", "size"],
  mkdirat: ["int", "int", "address", "u32"],
  mknodat: ["int", "int", "address", "u32", "off"],
  symlinkat: ["int", "address", "int", "address"],
  linkat: ["int", "int", "address", "int", "address", "int"],
  unlinkat: ["int", "int", "address", "int"],
  renameat2: ["int", "int", "address", "int", "address", "u32"],
  fchmod: ["int", "int", "u32"],
  fchmodat: ["int", "int", "address", "u32", "int"],
  fchownat: ["int", "int", "address", "u32", "u32", "int"],
  ftruncate: ["int", "int", "off"],
  utimensat: ["int", "int", "address", "address", "int"],
  futimens: ["int", "int", "address"],
  fsync: ["int", "int"],
  fdatasync: ["int", "int"],
  syncfs: ["int", "int"],
  fallocate: ["int", "int", "int", "off", "off"],
  copyFileRange: ["long", "int", "address", "int", "address", "size", "u32"],
  fgetxattr: ["long", "int", "address", "address", "size"],
  fsetxattr: ["int", "int", "address", "address", "size", "int"],
  flistxattr: ["long", "int", "address", "size"],
  fremovexattr: ["int", "int", "address"],
  // By path, links followed.
  getxattr: ["long", "address", "address", "address", "size"],
  setxattr: ["int", "address", "address", "address", "size", "int"],
  listxattr: ["long", "address", "address", "size"],
  removexattr: ["int", "address", "address"],
  fcntlAddress: ["int", "int", "int", "address"],
  fcntlInt: ["int", "int", "int", "long"],
  flock: ["int", "int", "int"],
} as const;

/** Variadic in C: see libc.ts. */
const SYMBOLS = {
  nameToHandleAt: "name_to_handle_at",
  openByHandleAt: "open_by_handle_at",
  copyFileRange: "copy_file_range",
  fcntlAddress: "fcntl",
  fcntlInt: "fcntl",
};

export type FileCalls = Native<typeof SIGNATURES>;

let calls: FileCalls | null = null;

/** The calls, found at the first use. */
export function fileCalls(): FileCalls {
  calls ??= loadLibrary("libc.so.6", SIGNATURES, SYMBOLS);
  return calls;
}

/** The error number that the last failed call of this thread left, positive. */
export function errno(): number {
  return koffi().errno();
}
