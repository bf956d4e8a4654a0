import { FormatError } from "./errors.ts";

/** Bytes at addresses, read synchronously: a buffer, or a file opened by somebody above. */
export interface ByteSource {
  /** Size in bytes. */
  readonly size: number;
  /** All of it, when it is memory: whoever reads much goes without `read` then. Do not write to it. */
  readonly whole?: Uint8Array;
  /**
   * Exactly `length` bytes from `offset`: a view when the source is memory (do not write to it), else a copy.
   * @throws FormatError ERR_TRUNCATED when the range is not wholly inside the source.
   */
  read(offset: number, length: number): Uint8Array;
}

/** A ByteSource over a buffer; `read` returns views. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    whole: bytes,
    read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > bytes.length) throw outside(offset, length, bytes.length);
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** The error of a read that leaves its source. */
export function outside(offset: number, length: number, size: number): FormatError {
  return new FormatError("ERR_TRUNCATED", "input", offset, `needs ${length} bytes, the input has ${size}`);
}
