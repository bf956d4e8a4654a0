import { constants } from "node:os";
import { PAGE_SIZE, preadAt, viewMemory } from "../sys/index.ts";

const { EINVAL } = constants.errno;

/**
 * What other threads of the process need to read a partial blob: numbers only. They are good for as long as the PartialBlob
 * they are of is open.
 */
export interface SharedBlob {
  /** Of the content, in bytes. */
  readonly size: number;
  readonly chunks: number;
  readonly fd: number;
  /** Past the page cache; -1 where there is none. */
  readonly directFd: number;
  /** Of the chunks' states, a byte each. */
  readonly statesAddress: number;
  /** Of the chunks' offsets in the content, and the content's end behind them: numbers of 64-bit floating point. */
  readonly offsetsAddress: number;
}

/** A partial blob as another thread of its process reads it. */
export class SharedBlobReader {
  readonly #blob: SharedBlob;
  readonly #states: Uint8Array;
  readonly #offsets: Float64Array;

  constructor(blob: SharedBlob) {
    this.#blob = blob;
    this.#states = new Uint8Array(viewMemory(blob.statesAddress, blob.chunks));
    this.#offsets = new Float64Array(viewMemory(blob.offsetsAddress, (blob.chunks + 1) * 8));
  }

  /** Whether all of a range is there, which lies within the content and is not empty. */
  isThere(offset: number, bytes: number): boolean {
    const end = offset + bytes;
    for (let chunk = this.#chunkAt(offset); chunk < this.#blob.chunks && this.#offsets[chunk]! < end; chunk++)
      if (Atomics.load(this.#states, chunk) === 0) return false;
    return true;
  }

  /** Where the first chunk starts that is not there and overlaps a range; -1 when all is there. */
  nextAbsent(offset: number, bytes: number): number {
    const end = Math.min(this.#blob.size, offset + bytes);
    if (offset >= end) return -1;
    for (let chunk = this.#chunkAt(offset); chunk < this.#blob.chunks && this.#offsets[chunk]! < end; chunk++)
      if (Atomics.load(this.#states, chunk) === 0) return this.#offsets[chunk]!;
    return -1;
  }

  /** Where the chunk ends that holds a byte of the content. */
  endOfChunk(offset: number): number {
    return this.#offsets[this.#chunkAt(offset) + 1]!;
  }

  /**
   * Reads what is there into native memory, waiting: past the page cache when address, length and position are multiples of a
   * page. Whoever is given the bytes caches them, and the host need not twice.
   * @returns bytes read, or a negative error number
   */
  readAt(address: number, bytes: number, position: number): number {
    const { fd, directFd } = this.#blob;
    if (directFd >= 0 && (bytes | position) % PAGE_SIZE === 0 && address % PAGE_SIZE === 0) {
      const got = preadAt(directFd, address, bytes, position);
      if (got !== -EINVAL) return got;
    }
    return preadAt(fd, address, bytes, position);
  }

  #chunkAt(offset: number): number {
    // Chunks of equal size, which is what everybody writes, are found at the first look.
    const guess = Math.floor(offset / this.#offsets[1]!);
    let low = 0;
    let high = this.#blob.chunks - 1;
    for (let middle = Math.min(high, guess); low < high; middle = (low + high) >>> 1) {
      if (this.#offsets[middle]! > offset) high = middle - 1;
      else if (this.#offsets[middle + 1]! <= offset) low = middle + 1;
      else return middle;
    }
    return low;
  }
}
