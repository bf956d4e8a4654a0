import { ftruncateSync } from "node:fs";
import { check, lastError } from "./errno.ts";
import { ipcCalls } from "./ipc-calls.ts";
import { koffi } from "./koffi.ts";
import { cString } from "./libc.ts";

// sys/mman.h
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_NORESERVE = 0x4000;
const MFD_CLOEXEC = 1;
/** What mmap(2) answers when it fails: (void *)-1, which koffi gives as the nearest double or as -1. */
const isFailed = (address: number): boolean => address < 0 || address > 0xffff_0000_0000_0000;

/** A new memfd of `bytes` zero bytes. @param name shown in /proc only */
export function memfd(name: string, bytes: number): number {
  const fd = check(ipcCalls().memfd_create(cString(name, "memfd_create"), MFD_CLOEXEC), "memfd_create");
  ftruncateSync(fd, bytes);
  return fd;
}

/**
 * Maps a file's range, shared, for reading and writing.
 * @param offset a multiple of the page size
 * @returns its address
 */
export function mapShared(fd: number, offset: number, bytes: number, writable = true): number {
  const prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const address = ipcCalls().mmap(0, bytes, prot, MAP_SHARED | MAP_NORESERVE, fd, offset);
  if (isFailed(address)) throw lastError("mmap", `fd ${fd}`);
  return address;
}

/** Removes a mapping. No view of it may be used any more, by any thread. */
export function unmapShared(address: number, bytes: number): void {
  check(ipcCalls().munmap(address, bytes), "munmap");
}

/**
 * Memory by its address. It is not copied and not kept: whoever unmaps it must see to it that nobody uses the view.
 * @param bytes more than 4 GiB are allowed, for a DataView; typed arrays end at 4 GiB
 */
export function viewMemory(address: number, bytes: number): ArrayBuffer {
  return koffi().view(address, bytes);
}

/** memcpy(3): native memory that does not overlap. */
export function copyMemory(to: number, from: number, bytes: number): void {
  ipcCalls().memcpy(to, from, bytes);
}
