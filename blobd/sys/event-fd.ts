import { check } from "./errno.ts";
import { ipcCalls } from "./ipc-calls.ts";
import { allocAligned, type NativeBuffer } from "./memory.ts";

// sys/eventfd.h
const EFD_SEMAPHORE = 1;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

/** Eight bytes of one that are written, and eight into which counts are read. Made once a thread. */
let scratch: NativeBuffer | null = null;

function counters(): NativeBuffer {
  if (scratch === null) {
    scratch = allocAligned(16);
    scratch.bytes.fill(0);
    scratch.bytes[0] = 1;
  }
  return scratch;
}

/**
 * A new eventfd(2), non-blocking: a counter that can be waited for by poll(2).
 * @param semaphore a read takes 1 instead of all
 */
export function eventFd(initial = 0, semaphore = false): number {
  const flags = EFD_NONBLOCK | EFD_CLOEXEC | (semaphore ? EFD_SEMAPHORE : 0);
  return check(ipcCalls().eventfd(initial, flags), "eventfd");
}

/**
 * Adds 1. A counter that is full already wakes whoever waits, so a failure needs no care.
 * @returns whether it was written
 */
export function signalEvent(fd: number): boolean {
  const { address } = scratch ?? counters();
  return ipcCalls().write(fd, address, 8) === 8;
}

/**
 * Takes what is in the counter.
 * @returns false when there was nothing
 */
export function takeEvent(fd: number): boolean {
  const { address } = scratch ?? counters();
  return ipcCalls().read(fd, address + 8, 8) === 8;
}
