import { allocAligned } from "../sys/index.ts";

/**
 * Size of a write buffer in bytes, and with that of a write. 2 MiB is where the disk reaches full speed (1 to 8 MiB
 * measured the same), and being the large alignment of a blob it makes every hole the tail of a segment.
 */
export const SEGMENT_BYTES = 2_097_152;

/** Page-aligned buffers, kept for the next writer: touching fresh memory costs more than the write itself. */
export class BufferPool {
  readonly #free: Uint8Array[] = [];

  take(): Uint8Array {
    return this.#free.pop() ?? allocAligned(SEGMENT_BYTES).bytes;
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }
}
