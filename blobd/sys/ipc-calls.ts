import { loadLibrary, type Native } from "./koffi.ts";

/** Functions of the C library for memory, events and sockets that processes share. fcntl: see SYMBOLS in libc.ts. */
const SIGNATURES = {
  read: ["long", "int", "address", "size"],
  write: ["long", "int", "address", "size"],
  poll: ["int", "address", "size", "int"],
  eventfd: ["int", "u32", "int"],
  memfd_create: ["int", "bytes", "u32"],
  mmap: ["address", "address", "size", "int", "int", "int", "off"],
  munmap: ["int", "address", "size"],
  memcpy: ["address", "address", "address", "size"],
  fcntl: ["int", "int", "int", "int"],
  dup3: ["int", "int", "int", "int"],
  socket: ["int", "int", "int", "int"],
  socketpair: ["int", "int", "int", "int", "bytes"],
  bind: ["int", "int", "bytes", "u32"],
  listen: ["int", "int", "int"],
  accept4: ["int", "int", "address", "address", "int"],
  connect: ["int", "int", "bytes", "u32"],
  recvmsg: ["long", "int", "address", "int"],
  sendmsg: ["long", "int", "address", "int"],
} as const;

let calls: Native<typeof SIGNATURES> | null = null;

/** The functions, found at the first call. Hot paths keep them. */
export function ipcCalls(): Native<typeof SIGNATURES> {
  calls ??= loadLibrary("libc.so.6", SIGNATURES);
  return calls;
}
