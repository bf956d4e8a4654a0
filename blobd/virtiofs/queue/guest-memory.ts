import { copyMemory } from "../../sys/index.ts";
import { PLACE, type Segments, type ShmemMapper } from "../../vhost/index.ts";
import type { Bounce } from "./bounce.ts";
import type { ReadOnlyMemory } from "./read-only-memory.ts";

/** What copies between the window and memory: a DaxWindowTable. */
export interface WindowMemory {
  copyOut(windowOffset: number, bytes: number, address: number): number;
  copyIn(windowOffset: number, bytes: number, address: number): number;
}

const EFAULT = 14;

/**
 * Moves bytes between a chain's segments and this process's memory, wherever the segments lie: in guest memory, which is
 * mapped; in the DAX window, which is not; in memory of the guest that only the front-end has, of which some is known to
 * be files, and is read there.
 *
 * Results are 0 or a negative error number, -EFAULT for memory that cannot be reached.
 */
export class GuestMemory {
  readonly #window: WindowMemory | null;
  readonly #mapper: ShmemMapper;
  readonly #bounce: Bounce;
  readonly #files: ReadOnlyMemory;

  constructor(window: WindowMemory | null, mapper: ShmemMapper, bounce: Bounce, files: ReadOnlyMemory) {
    this.#window = window;
    this.#mapper = mapper;
    this.#bounce = bounce;
    this.#files = files;
  }

  /** Copies bytes `from` to `end` of the segments to `address`. They reach that far. */
  gather(segments: Segments, from: number, end: number, address: number): number {
    for (let index = 0, start = 0; start < end; index++) {
      const length = segments.length[index]!;
      const skip = Math.max(0, from - start);
      const bytes = Math.min(length, end - start) - skip;
      if (bytes > 0) {
        const source = segments.address[index]! + skip;
        const target = address + start + skip - from;
        if (segments.place[index] === PLACE.RAM) copyMemory(target, source, bytes);
        else {
          const status = this.read(segments.place[index]!, source, bytes, target);
          if (status < 0) return status;
        }
      }
      start += length;
    }
    return 0;
  }

  /** Copies `bytes` bytes from `address` to the start of the segments. They are that long. */
  scatter(segments: Segments, bytes: number, address: number): number {
    for (let index = 0, done = 0; done < bytes; index++) {
      const length = Math.min(segments.length[index]!, bytes - done);
      const to = segments.address[index]!;
      if (segments.place[index] === PLACE.RAM) copyMemory(to, address + done, length);
      else {
        const status = this.write(segments.place[index]!, to, length, address + done);
        if (status < 0) return status;
      }
      done += length;
    }
    return 0;
  }

  /** Copies what lies elsewhere than in mapped guest memory to `address`. */
  read(place: number, from: number, bytes: number, address: number): number {
    if (place === PLACE.WINDOW) return this.#window?.copyOut(from, bytes, address) ?? -EFAULT;
    if (this.#files.has(from)) return this.#files.read(from, bytes, address);
    return this.#transfer(from, bytes, (at) => copyMemory(address, at, bytes), false);
  }

  /** Copies from `address` to what lies elsewhere than in mapped guest memory. */
  write(place: number, to: number, bytes: number, address: number): number {
    if (place === PLACE.WINDOW) return this.#window?.copyIn(to, bytes, address) ?? -EFAULT;
    return this.#transfer(to, bytes, (at) => copyMemory(at, address, bytes), true);
  }

  /** The front-end copies between guest memory and a file: that file is a piece of the bounce buffer. */
  #transfer(guestAddress: number, bytes: number, copy: (address: number) => void, toGuest: boolean): number {
    const bounce = this.#bounce;
    const at = bounce.take(bytes);
    if (at < 0) return -EFAULT;
    try {
      if (toGuest) copy(bounce.address + at);
      const status = this.#mapper.transfer(bounce.fd, at, guestAddress, bytes, toGuest);
      if (status < 0) return -EFAULT;
      if (!toGuest) copy(bounce.address + at);
      return 0;
    } finally {
      bounce.giveBack(bytes);
    }
  }
}
