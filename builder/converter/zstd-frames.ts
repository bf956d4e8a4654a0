import { Transform, type TransformCallback } from "node:stream";
import { addressOf, allocAligned, hasLibzstd, ZstdChunkEncoder } from "../../blobd/sys/index.ts";
import { UpperError } from "./upper-walk.ts";

/** zstd's own default. */
const LEVEL = 3;
/** What a frame of incompressible content takes beyond it, in bytes, at most: zstd.h, ZSTD_COMPRESSBOUND. */
const SPARE_BYTES = 64 << 10;

/** Compresses each piece that is written into a zstd frame of its own: frames in a row are one layer to every reader. */
export class ZstdFrames extends Transform {
  readonly #encoder: ZstdChunkEncoder;
  readonly #output;
  #encoding: Promise<unknown> = Promise.resolve();

  /**
   * @param pieceBytes longest piece that is written
   * @throws UpperError when libzstd is not installed
   */
  constructor(pieceBytes: number) {
    super();
    if (!hasLibzstd()) throw new UpperError("libzstd.so.1 is not installed: layers cannot be compressed by zstd");
    this.#encoder = new ZstdChunkEncoder(LEVEL);
    this.#output = allocAligned(pieceBytes + SPARE_BYTES);
  }

  override _transform(piece: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const { address, bytes } = this.#output;
    this.#encoding = this.#encoder.encode(addressOf(piece), piece.length, address, bytes.length).then(
      (length) => done(null, Buffer.from(bytes.subarray(0, length))),
      (error) => done(error),
    );
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // What is being compressed is compressed in another thread.
    void this.#encoding.finally(() => {
      this.#encoder.free();
      done(error);
    });
  }
}
