import { hasIsal, hasLibzstd, isalDecoder, zstdDecoder } from "../../blobd/sys/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import { GzipFraming } from "./gzip.ts";
import type { InputPieces } from "./input.ts";
import { decompressNative, type Framing, type Sizes } from "./native.ts";
import { gunzipWithNode, hasNodeZstd, unzstdWithNode } from "./node-zlib.ts";

/** `isal` means the native libraries (ISA-L for gzip, libzstd for zstd), `zlib` what Node.js brings itself. */
export type Engine = "auto" | "isal" | "zlib";

/**
 * Largest window of a zstd frame, as a power of two: 128 MiB, what zstd(1) takes too. It bounds the memory a stream
 * costs; only frames made with --ultra --long=28 and more ask for more.
 */
export const ZSTD_WINDOW_LOG_MAX = 27;

/**
 * Output pieces that stay in the caches between decoder and consumer; 0.5 to 4 MiB measure alike. Input pieces as large,
 * so that most steps end with a full output and few for want of input: a step that ends while this thread is busy with
 * the last piece leaves the pool idle.
 */
export const SIZES: Sizes = { inputBytes: 1 << 20, outputBytes: 1 << 20 };

/**
 * The engine for gzip. `EROFSIFY_GZIP` (`isal` or `zlib`) decides where the caller does not, for comparisons and for
 * those who trust a C library less; else it is ISA-L where it is installed.
 * @throws Error for another value of `EROFSIFY_GZIP`.
 */
export function gzipEngine(engine: Engine, setting: string | undefined, isalThere: () => boolean): "isal" | "zlib" {
  if (engine !== "auto") return engine;
  if (setting === "isal" || setting === "zlib") return setting;
  if (setting !== undefined && setting !== "" && setting !== "auto")
    throw new Error(`EROFSIFY_GZIP is "${setting}", expected isal, zlib or auto`);
  return isalThere() ? "isal" : "zlib";
}

/**
 * Decompresses gzip: any number of members, checksums and lengths verified, zero padding at the end allowed.
 * @throws Error when the engine asked for is not there.
 */
export function gunzip(source: AsyncIterable<Uint8Array>, engine: Engine, sizes = SIZES): AsyncIterable<Uint8Array> {
  if (gzipEngine(engine, process.env.EROFSIFY_GZIP, hasIsal) === "zlib")
    return gunzipWithNode(source, sizes.outputBytes);
  const decoder = isalDecoder();
  const gzip = new GzipFraming();
  return decompressNative(
    source,
    decoder,
    {
      name: "deflate",
      beforeUnit(input) {
        input.pos = gzip.push(input.bytes, input.pos, input.end, input.offset);
        return gzip.inBody;
      },
      unitEnd: (outputBytes) => gzip.bodyEnd(decoder.crc(), outputBytes),
      inputEnd: (offset) => gzip.end(offset),
    },
    sizes,
  );
}

/**
 * Decompresses zstd: any number of frames, skippable ones skipped.
 * @throws Error when neither libzstd nor a Node.js with zstd (22.15) is there, or not the engine asked for.
 */
export function unzstd(source: AsyncIterable<Uint8Array>, engine: Engine, sizes = SIZES): AsyncIterable<Uint8Array> {
  if (engine !== "zlib" && hasLibzstd())
    return decompressNative(source, zstdDecoder(ZSTD_WINDOW_LOG_MAX), new ZstdFraming(), sizes);
  if (engine !== "isal" && hasNodeZstd()) return unzstdWithNode(source, ZSTD_WINDOW_LOG_MAX, sizes.outputBytes);
  throw new Error(
    "zstd needs the library libzstd.so.1 (Debian: libzstd1) or Node.js 22.15 and later; neither is there",
  );
}

/** zstd frames follow each other without anything between them (RFC 8878 section 3). */
class ZstdFraming implements Framing {
  readonly name = "zstd";
  #started = false;
  #inFrame = false;

  beforeUnit(input: InputPieces): boolean {
    if (input.pos < input.end) {
      this.#started = true;
      this.#inFrame = true;
    }
    return this.#inFrame;
  }

  unitEnd(): void {
    this.#inFrame = false;
  }

  inputEnd(offset: number): void {
    if (this.#started && !this.#inFrame) return;
    const where = this.#started ? "inside a frame" : "before the first frame";
    throw new FormatError("ERR_TRUNCATED", "zstd", offset, `the input ends ${where}`);
  }
}
