import { once } from "node:events";
import * as zlib from "node:zlib";
import { FormatError } from "../../formats/bytes/index.ts";
import { GzipFraming } from "./gzip.ts";
import { Source } from "./input.ts";

type ZlibStream = zlib.InflateRaw;

/** zstd came to node:zlib in 22.15 and 23.8; the types of Node 20 do not know it. */
const zstd = zlib as unknown as {
  readonly createZstdDecompress?: (options: zlib.ZlibOptions & { params: Record<number, number> }) => ZlibStream;
  readonly constants: { readonly ZSTD_d_windowLogMax?: number };
};

/** Whether this Node.js has zstd. */
export function hasNodeZstd(): boolean {
  return zstd.createZstdDecompress !== undefined;
}

/** Decompresses gzip with Node's zlib: where ISA-L is not installed. The CRC is computed on this thread. */
export async function* gunzipWithNode(
  source: AsyncIterable<Uint8Array>,
  pieceBytes: number,
): AsyncGenerator<Uint8Array, void> {
  const input = new Chunks(source);
  const gzip = new GzipFraming();
  try {
    for (;;) {
      input.pos = gzip.push(input.chunk, input.pos, input.chunk.length, input.offset);
      if (gzip.inBody) {
        let [crc, size] = [0, 0];
        for await (const piece of unit(zlib.createInflateRaw({ chunkSize: pieceBytes }), input, "deflate")) {
          crc = zlib.crc32(piece, crc);
          size += piece.length;
          yield piece;
        }
        gzip.bodyEnd(crc, size);
      } else if (!(await input.advance())) break;
    }
    gzip.end(input.offset);
  } finally {
    await input.close();
  }
}

/** Decompresses zstd with Node's zlib, frame by frame: one of its streams takes one frame only. */
export async function* unzstdWithNode(
  source: AsyncIterable<Uint8Array>,
  windowLogMax: number,
  pieceBytes: number,
): AsyncGenerator<Uint8Array, void> {
  const input = new Chunks(source);
  const params = { [zstd.constants.ZSTD_d_windowLogMax!]: windowLogMax };
  try {
    while (input.pos < input.chunk.length || (await input.advance()))
      yield* unit(zstd.createZstdDecompress!({ chunkSize: pieceBytes, params }), input, "zstd");
    if (input.offset === 0) throw new FormatError("ERR_TRUNCATED", "zstd", 0, "the input ends before the first frame");
  } finally {
    await input.close();
  }
}

/** A source's chunks, with a place in the current one. */
class Chunks {
  readonly #source: Source;
  chunk: Buffer = Buffer.alloc(0);
  pos = 0;
  /** Bytes of the stream in the chunks before the current one. */
  #before = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = new Source(source);
  }

  /** Where in the stream `pos` lies, in bytes. */
  get offset(): number {
    return this.#before + this.pos;
  }

  /** Goes to the next chunk, once the current one is used up; false at the end. */
  async advance(): Promise<boolean> {
    const next = await this.#source.next();
    if (next === null) return false;
    this.#before += this.chunk.length;
    this.chunk = Buffer.from(next.buffer, next.byteOffset, next.byteLength);
    this.pos = 0;
    return true;
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}

/**
 * Decompresses one unit (a deflate stream, a zstd frame) that starts at `input.pos`, and leaves `input.pos` behind it.
 * @throws FormatError when the unit is broken or the input ends in it; what the source throws.
 */
async function* unit(stream: ZlibStream, input: Chunks, name: string): AsyncGenerator<Uint8Array, void> {
  const start = input.offset;
  let sourceError: unknown = null;
  let fed = 0;
  const feeding = (async () => {
    const ended = once(stream, "close").catch(() => {});
    do {
      const chunk = input.chunk.subarray(input.pos);
      input.pos = input.chunk.length;
      fed += chunk.length;
      await Promise.race([new Promise<void>((done) => stream.write(chunk, () => done())), ended]);
      if (stream.destroyed || stream.bytesWritten < fed) return; // Input left over: the unit has ended.
    } while (await input.advance());
    stream.end();
  })().catch((error) => {
    sourceError = error;
    stream.destroy(error);
  });
  try {
    yield* stream;
  } catch (error) {
    if (sourceError !== null) throw sourceError;
    throw asFormatError(error, name, start, fed, stream.bytesWritten);
  }
  await feeding;
  input.pos -= fed - stream.bytesWritten;
}

function asFormatError(error: unknown, name: string, start: number, fed: number, used: number): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "Z_BUF_ERROR")
    return new FormatError("ERR_TRUNCATED", name, start + fed, `the input ends inside the ${name} data`);
  if (code === "ZSTD_error_frameParameter_windowTooLarge")
    return new FormatError("ERR_UNSUPPORTED", `${name} data`, start + used, message);
  if (code?.startsWith("Z_") || code?.startsWith("ZSTD_"))
    return new FormatError("ERR_BAD_VALUE", `${name} data`, start + used, message);
  return error;
}
