import type { BlobWriter } from "../../blobd/store/index.ts";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";

/** 2 MiB, the unit in which blobs are aligned and a hole may end. */
export const UNIT_BYTES = 2_097_152;

/**
 * Writes content that is there already, such as another blob's, into a blob: pieces of any length in, and zeros at the end of
 * each 2 MiB become a hole, as they were where the content comes from.
 */
export class UnitWriter {
  readonly #writer: BlobWriter;
  readonly #unit = Buffer.allocUnsafeSlow(UNIT_BYTES);
  #filled = 0;

  constructor(writer: BlobWriter) {
    this.#writer = writer;
  }

  /** Copies `bytes`. @throws StoreError */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, UNIT_BYTES - this.#filled);
      this.#unit.set(bytes.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === UNIT_BYTES) await this.#flush();
    }
  }

  /** Writes what is left, and goes to the next unit. @throws StoreError */
  async end(): Promise<void> {
    if (this.#filled > 0) await this.#flush();
  }

  async #flush(): Promise<void> {
    const bytes = this.#unit.subarray(0, this.#filled);
    const dataBytes = Math.max(BLOCK_SIZE, Math.ceil(lengthWithoutZeros(bytes) / BLOCK_SIZE) * BLOCK_SIZE);
    if (this.#writer.write(bytes, 0, Math.min(dataBytes, bytes.length))) await this.#writer.drain();
    this.#writer.begin(UNIT_BYTES);
    this.#filled = 0;
  }
}

function lengthWithoutZeros(bytes: Uint8Array): number {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length--;
  return length;
}
