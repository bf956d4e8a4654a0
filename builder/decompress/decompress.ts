import { FormatError } from "../../formats/bytes/index.ts";
import { type Compression, DETECT_BYTES, detectCompression } from "./detect.ts";
import { type Engine, gunzip, unzstd } from "./engines.ts";

export interface DecompressOptions {
  /** Default `auto`: the fastest that is installed. */
  readonly engine?: Engine;
  /** Most bytes the stream may decompress to; a stream that has more is refused once it gets there. */
  readonly maxOutputBytes?: number;
}

/**
 * Decompresses a stream of chunks (`none` passes them on, `detect` looks at the first bytes). The work is done on libuv's thread pool while the caller uses
 * what it got before; pieces are large, about 1 MiB, and valid only until the next one is asked for: their buffers are
 * used again. Memory is a few MiB (for zstd plus the frame's window) however much a stream expands. The source may reuse
 * its chunks' buffer in the same way; it is asked for more ahead of time, and its `return` is called when the consumer
 * stops early.
 *
 * @throws FormatError (while iterating) for bytes that are corrupt or end early, with the offset in the compressed
 * stream; ERR_UNSUPPORTED for a zstd window over 128 MiB; ERR_BAD_VALUE past `maxOutputBytes`.
 * @throws Error when nothing here can decompress it.
 * @example for await (const piece of decompress(createReadStream("layer.tar.gz"), "gzip")) reader.push(piece);
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression | "detect",
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const { engine = "auto", maxOutputBytes = Number.POSITIVE_INFINITY } = options;
  let outputBytes = 0;
  for await (const piece of pieces(source, compression, engine)) {
    outputBytes += piece.length;
    if (outputBytes > maxOutputBytes)
      throw new FormatError(
        "ERR_BAD_VALUE",
        "decompressed stream",
        maxOutputBytes,
        `goes on past the limit of ${maxOutputBytes} bytes`,
      );
    yield piece;
  }
}

function pieces(
  source: AsyncIterable<Uint8Array>,
  compression: Compression | "detect",
  engine: Engine,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "detect":
      return detected(source, engine);
    case "none":
      return source;
    case "gzip":
      return gunzip(source, engine);
    case "zstd":
      return unzstd(source, engine);
  }
}

async function* detected(source: AsyncIterable<Uint8Array>, engine: Engine): AsyncGenerator<Uint8Array, void> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  let rest = true;
  while (rest && head.length < DETECT_BYTES) {
    const { value, done } = await iterator.next();
    if (done) rest = false;
    else head = head.length === 0 ? value : Buffer.concat([head, value]);
  }
  // The rest comes from the same iterator, whose end is left to it: `return` reaches it when the consumer stops early.
  const whole = { [Symbol.asyncIterator]: () => withHead(head, iterator) };
  yield* pieces(whole, detectCompression(head), engine);
}

/** An iterator that gives `head` first. */
function withHead(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncIterator<Uint8Array> {
  let given = head.length === 0;
  return {
    async next() {
      if (given) return await rest.next();
      given = true;
      return { value: head, done: false };
    },
    async return() {
      await rest.return?.();
      return { value: undefined, done: true };
    },
  };
}
