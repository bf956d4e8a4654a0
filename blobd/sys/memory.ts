import { koffi } from "./koffi.ts";

/** Page size of the machines this runs on, and a multiple of every disk's O_DIRECT alignment, in bytes. */
export const PAGE_SIZE = 4096;

/** Memory that native code may be pointed at. */
export interface NativeBuffer {
  /** Address of the first byte, a multiple of PAGE_SIZE. */
  readonly address: number;
  /** The memory itself. Native code may use `address` for as long as somebody holds this. */
  readonly bytes: Buffer;
}

/**
 * Memory that starts on a page, for O_DIRECT and for native code; not zeroed.
 *
 * It is a page-aligned part of an ordinary Buffer, and so belongs to the garbage collector: V8 never moves it, `fs.write`
 * holds a reference while a write is pending, and a worker thread that is terminated waits for its pool calls before its
 * heap goes. Whoever gives `address` to an asynchronous native call must hold `bytes` until that call is done. Memory
 * from mmap(2) behind an external ArrayBuffer is as fast, but lives on when a worker is terminated and turns a forgotten
 * view into a crash when it is unmapped; a WebAssembly.Memory is aligned without any native call, but each reserves
 * 10 GB of address space, which `ulimit -v` and strict overcommit refuse.
 */
export function allocAligned(bytes: number): NativeBuffer {
  const whole = Buffer.allocUnsafeSlow(bytes + PAGE_SIZE - 1);
  const start = addressOf(whole);
  const skip = (PAGE_SIZE - (start % PAGE_SIZE)) % PAGE_SIZE;
  return { address: start + skip, bytes: whole.subarray(skip, skip + bytes) };
}

/**
 * Address of the first byte of `bytes`. It stays put for as long as `bytes` lives, except for typed arrays of less than
 * 64 bytes that were never given a buffer of their own (V8 keeps those in its heap and moves them).
 */
export function addressOf(bytes: Uint8Array): number {
  return Number(koffi().address(bytes));
}
