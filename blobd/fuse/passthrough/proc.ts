import { allocAligned, errno, type FileCalls, fileCalls, type NativeBuffer } from "../../sys/index.ts";
import { EINTR, O_CLOEXEC, O_NOFOLLOW } from "./linux.ts";

const DIGIT = 0x30;
/** Digits of the largest descriptor. */
const DIGITS = 10;
const PATH = "/proc/self/fd/";

/**
 * A thread's names for open files: a descriptor's entry in /proc/self/fd leads to the file itself, whatever has become of
 * its path. The directory is held open, so it need not be visible.
 */
export class Proc {
  /** A descriptor of /proc/self/fd. */
  readonly fd: number;
  /** Address of an empty C string: with AT_EMPTY_PATH, the descriptor itself. */
  readonly empty: number;
  readonly #memory: NativeBuffer = allocAligned(64);
  readonly #calls: FileCalls = fileCalls();

  constructor(fd: number) {
    this.fd = fd;
    this.#memory.bytes.fill(0, 0, 64);
    this.#memory.bytes.write(PATH, 8, "latin1");
    this.empty = this.#memory.address;
  }

  /** Address of the descriptor's name in /proc/self/fd, valid until the next call. */
  name(fd: number): number {
    const { bytes } = this.#memory;
    const start = 8 + PATH.length;
    let at = start + DIGITS;
    bytes[at] = 0;
    let rest = fd;
    do {
      bytes[--at] = DIGIT + (rest % 10);
      rest = (rest / 10) | 0;
    } while (rest > 0);
    if (at > start) {
      bytes.copyWithin(start, at, start + DIGITS + 1);
    }
    return this.#memory.address + start;
  }

  /** Address of its path, valid until the next call. */
  path(fd: number): number {
    return this.name(fd) - PATH.length;
  }

  /** Opens the file behind a descriptor once more. @returns a descriptor; a negative error number */
  reopen(fd: number, flags: number): number {
    for (;;) {
      const opened = this.#calls.openat(this.fd, this.name(fd), (flags & ~O_NOFOLLOW) | O_CLOEXEC, 0);
      if (opened >= 0) return opened;
      const error = errno();
      if (error !== EINTR) return -error;
    }
  }
}
