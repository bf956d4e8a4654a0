import { SysError } from "./errno.ts";
import { loadLibrary, type Native } from "./koffi.ts";

/** The functions of the C library that Node.js does not offer. */
const SIGNATURES = {
  flock: ["int", "int", "int"],
  llistxattr: ["long", "bytes", "bytes", "size"],
  lgetxattr: ["long", "bytes", "bytes", "bytes", "size"],
  lsetxattr: ["int", "bytes", "bytes", "bytes", "size", "int"],
  mknod: ["int", "bytes", "u32", "off"],
  utimensat: ["int", "int", "bytes", "bytes", "int"],
  clock_gettime: ["int", "int", "bytes"],
  umount2: ["int", "bytes", "int"],
  ioctlInt: ["int", "int", "size", "long"],
  ioctlBytes: ["int", "int", "size", "bytes"],
  fcntlBytes: ["int", "int", "int", "bytes"],
  pread: ["long", "int", "address", "size", "off"],
  pwrite: ["long", "int", "address", "size", "off"],
  lseek: ["long", "int", "off", "int"],
  openat: ["int", "int", "bytes", "int", "u32"],
  // The first argument of these is the system call's number, SYS below.
  fsopen: ["long", "long", "bytes", "int"],
  fsconfig: ["long", "long", "int", "int", "bytes", "bytes", "int"],
  fsmount: ["long", "long", "int", "int", "int"],
  moveMount: ["long", "long", "int", "bytes", "int", "bytes", "int"],
  pidfdOpen: ["long", "long", "int", "u32"],
  pidfdGetfd: ["long", "long", "int", "int", "u32"],
  ioSetup: ["long", "long", "u32", "address"],
  ioSubmit: ["long", "long", "address", "long", "address"],
  ioGetevents: ["long", "long", "address", "long", "long", "address", "address"],
  futex: ["long", "long", "address", "int", "u32", "address", "address", "u32"],
} as const;

/**
 * Variadic in C, declared here once for each way of calling: on x86-64 and arm64 Linux the integer arguments of a
 * variadic call travel as in any other. The mount calls go through syscall(2) because glibc knows them since 2.36 only.
 */
const SYMBOLS = {
  ioctlInt: "ioctl",
  ioctlBytes: "ioctl",
  fcntlBytes: "fcntl",
  fsopen: "syscall",
  fsconfig: "syscall",
  fsmount: "syscall",
  moveMount: "syscall",
  pidfdOpen: "syscall",
  pidfdGetfd: "syscall",
  ioSetup: "syscall",
  ioSubmit: "syscall",
  ioGetevents: "syscall",
  futex: "syscall",
};

const isX64 = process.arch === "x64";
/**
 * System call numbers. Linux include/uapi/asm-generic/unistd.h, and for x86-64 where it has its own
 * arch/x86/entry/syscalls/syscall_64.tbl.
 */
export const SYS = {
  futex: isX64 ? 202 : 98,
  ioSetup: isX64 ? 206 : 0,
  ioSubmit: isX64 ? 209 : 2,
  ioGetevents: isX64 ? 208 : 4,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfdOpen: 434,
  pidfdGetfd: 438,
} as const;

let libc_: Native<typeof SIGNATURES> | null = null;

/** The C library, opened at the first call. */
export function libc(): Native<typeof SIGNATURES> {
  libc_ ??= loadLibrary("libc.so.6", SIGNATURES, SYMBOLS);
  return libc_;
}

/** A file's path: text (taken as UTF-8, as Node.js does), or the bytes themselves. */
export type Path = string | Uint8Array;

/**
 * A path, or any other text, as a C string.
 * @throws SysError EINVAL when it contains a NUL byte, which would cut it.
 */
export function cString(text: Path, syscall: string): Buffer {
  const bytes = typeof text === "string" ? Buffer.from(text, "utf8") : text;
  if (bytes.includes(0)) throw new SysError(syscall, "EINVAL", 22, undefined, "the path contains a NUL byte");
  const c = Buffer.allocUnsafe(bytes.length + 1);
  c.set(bytes);
  c[bytes.length] = 0;
  return c;
}
