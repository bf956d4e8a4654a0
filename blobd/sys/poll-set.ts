import { lastError } from "./errno.ts";
import { ipcCalls } from "./ipc-calls.ts";
import { koffi } from "./koffi.ts";
import { allocAligned, type NativeBuffer } from "./memory.ts";

// poll.h
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 16;
export const POLLNVAL = 32;

/** `struct pollfd`: int fd, short events, short revents. */
const POLLFD_BYTES = 8;
const EVENTS = 4;
const REVENTS = 6;
const EINTR = 4;

/** Descriptors to wait for: an array for poll(2) that is filled once and used again and again. */
export class PollSet {
  readonly #memory: NativeBuffer;
  readonly #dv: DataView;
  #count = 0;

  constructor(capacity: number) {
    this.#memory = allocAligned(capacity * POLLFD_BYTES);
    const { bytes } = this.#memory;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get count(): number {
    return this.#count;
  }

  /** Appends a descriptor; a negative one is passed over by the kernel. @returns its place. */
  add(fd: number, events: number): number {
    if ((this.#count + 1) * POLLFD_BYTES > this.#memory.bytes.length) throw new RangeError("PollSet: full");
    const index = this.#count++;
    this.set(index, fd, events);
    return index;
  }

  set(index: number, fd: number, events: number): void {
    const at = index * POLLFD_BYTES;
    this.#dv.setInt32(at, fd, true);
    this.#dv.setInt16(at + EVENTS, events, true);
    this.#dv.setInt16(at + REVENTS, 0, true);
  }

  /** Drops all from `count` on. */
  truncate(count: number): void {
    this.#count = Math.min(this.#count, count);
  }

  /**
   * Waits on this thread until one is ready.
   * @param timeoutMs -1 for as long as it takes
   * @returns how many are ready; 0 after the time, or when a signal came
   */
  wait(timeoutMs: number): number {
    const ready = ipcCalls().poll(this.#memory.address, this.#count, timeoutMs);
    if (ready >= 0) return ready;
    if (koffi().errno() === EINTR) {
      for (let index = 0; index < this.#count; index++) this.#dv.setInt16(index * POLLFD_BYTES + REVENTS, 0, true);
      return 0;
    }
    throw lastError("poll");
  }

  /** `wait` on libuv's thread pool, of which it takes a thread. The set must be left alone meanwhile. */
  waitAsync(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      ipcCalls().poll.async(this.#memory.address, this.#count, timeoutMs, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  /** What was found about a descriptor, 0 for nothing. */
  ready(index: number): number {
    return this.#dv.getInt16(index * POLLFD_BYTES + REVENTS, true);
  }
}
