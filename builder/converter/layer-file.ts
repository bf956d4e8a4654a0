import { createHash } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, openSync, rmSync } from "node:fs";
import { PassThrough, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { DiffJob, DiffResult } from "../../blobd/conversion/index.ts";
import { TarHash } from "./tar-hash.ts";
import { ZstdFrames } from "./zstd-frames.ts";

/** Tar bytes that are gathered before they are hashed and compressed. */
const PIECE_BYTES = 1 << 20;
/** zlib's own default: a layer is compressed once and pulled often. */
const GZIP_LEVEL = 6;

/**
 * A layer on its way into a file: tar bytes are gathered without waiting, `drain` hashes and compresses what has
 * gathered. `write` may run ahead of `drain` by as much as the caller lets it.
 */
export class LayerFile {
  readonly #path: string;
  readonly #hash: TarHash;
  readonly #stored = createHash("sha256");
  readonly #compressor: Transform;
  readonly #done: Promise<void>;
  #storedBytes = 0;
  #pieces: Buffer[] = [];
  #piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #filled = 0;

  /** @throws UpperError for a compression that is not there; the file system's error when the file cannot be made, or is there */
  constructor({ output, compression }: Pick<DiffJob, "output" | "compression">) {
    this.#path = output;
    this.#compressor = compressorOf(compression);
    const fd = this.#create();
    // Last: from here on, somebody calls `finish` or `abort`, which free it.
    this.#hash = new TarHash();
    const count = new Transform({
      transform: (chunk: Buffer, _, done) => {
        this.#stored.update(chunk);
        this.#storedBytes += chunk.length;
        done(null, chunk);
      },
    });
    const file = createWriteStream(output, { fd });
    this.#done = pipeline(this.#compressor, count, file);
    this.#done.catch(() => {}); // `drain` and `finish` tell of it.
  }

  /** Takes tar bytes; copies them. */
  readonly write = (bytes: Uint8Array, start: number, end: number): void => {
    for (let at = start; at < end; ) {
      const take = Math.min(end - at, PIECE_BYTES - this.#filled);
      this.#piece.set(bytes.subarray(at, at + take), this.#filled);
      this.#filled += take;
      at += take;
      if (this.#filled === PIECE_BYTES) this.#nextPiece();
    }
  };

  /** Hands on what has gathered. @throws the file system's error */
  readonly drain = async (): Promise<void> => {
    for (let piece = this.#pieces.shift(); piece !== undefined; piece = this.#pieces.shift()) {
      await this.#hash.observe(piece);
      if (!this.#compressor.write(piece)) await Promise.race([once(this.#compressor, "drain"), this.#done]);
    }
  };

  /** The file's end, and what is in it. @throws the file system's error */
  async finish(): Promise<DiffResult> {
    this.#nextPiece();
    await this.drain();
    this.#compressor.end();
    await this.#done;
    const tar = this.#hash.finish();
    this.#hash.free();
    return { digest: `sha256:${this.#stored.digest("hex")}`, size: this.#storedBytes, ...tar };
  }

  /** Gives up, and removes the file. */
  async abort(): Promise<void> {
    this.#compressor.destroy();
    await this.#done.catch(() => {});
    this.#hash.free();
    rmSync(this.#path, { force: true });
  }

  #create(): number {
    try {
      return openSync(this.#path, "wx", 0o600);
    } catch (error) {
      this.#compressor.destroy();
      throw error;
    }
  }

  #nextPiece(): void {
    if (this.#filled > 0) this.#pieces.push(this.#piece.subarray(0, this.#filled));
    this.#piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.#filled = 0;
  }
}

function compressorOf(compression: DiffJob["compression"]): Transform {
  switch (compression) {
    case "gzip":
      return createGzip({ level: GZIP_LEVEL });
    case "zstd":
      return new ZstdFrames(PIECE_BYTES);
    case "none":
      return new PassThrough();
  }
}
