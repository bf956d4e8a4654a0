import { allocAligned } from "../sys/index.ts";

/** Bytes of a `struct iovec` on a 64-bit machine: address, length. */
const IOVEC_BYTES = 16;
/** `UIO_MAXIOV`, which is also what readv(2) and writev(2) take at most. */
export const MAX_SEGMENTS = 1024;

/**
 * Pieces of native memory in order, as preadv(2) and pwritev(2) take them: `address` is that of an array of `count`
 * `struct iovec`. Made once and filled anew for each request.
 */
export class IoVector {
  readonly address: number;
  /** Pieces that are in it. */
  count = 0;
  /** Sum of their lengths. */
  bytes = 0;
  readonly #dv: DataView;
  /** Holds the memory behind `address`. */
  readonly #memory: Buffer;

  constructor(maxSegments = MAX_SEGMENTS) {
    const { address, bytes } = allocAligned(maxSegments * IOVEC_BYTES);
    this.address = address;
    this.#memory = bytes;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
  }

  /**
   * Appends a piece.
   * @returns false when there is no room for one more.
   */
  add(address: number, bytes: number): boolean {
    const at = this.count * IOVEC_BYTES;
    if (at + IOVEC_BYTES > this.#memory.length) return false;
    this.#put(at, address);
    this.#put(at + 8, bytes);
    this.count++;
    this.bytes += bytes;
    return true;
  }

  addressOf(index: number): number {
    return this.#get(index * IOVEC_BYTES);
  }
  bytesOf(index: number): number {
    return this.#get(index * IOVEC_BYTES + 8);
  }

  /** Cuts it to its first `bytes` bytes. */
  truncate(bytes: number): void {
    if (bytes >= this.bytes) return;
    let left = bytes;
    let index = 0;
    for (; left > 0; index++) {
      const length = this.bytesOf(index);
      if (length > left) this.#put(index * IOVEC_BYTES + 8, left);
      left -= Math.min(left, length);
    }
    this.count = index;
    this.bytes = bytes;
  }

  /** Makes it the `bytes` bytes of another one that start `skip` bytes into it. */
  slice(of: IoVector, skip: number, bytes: number): void {
    this.clear();
    let before = skip;
    for (let piece = 0; piece < of.count && this.bytes < bytes; piece++) {
      const length = of.bytesOf(piece);
      const use = Math.min(length - before, bytes - this.bytes);
      if (use > 0) this.add(of.addressOf(piece) + before, use);
      before = Math.max(0, before - length);
    }
  }

  #put(at: number, value: number): void {
    this.#dv.setUint32(at, value >>> 0, true);
    this.#dv.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  }
  #get(at: number): number {
    return this.#dv.getUint32(at + 4, true) * 0x1_0000_0000 + this.#dv.getUint32(at, true);
  }
}
