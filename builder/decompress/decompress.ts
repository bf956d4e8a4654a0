import { FormatError } from "../../formats/bytes/index.ts";
import type { Compression } from "./detect.ts";
import { type Engine, gunzip, unzstd } from "./engines.ts";

export interface DecompressOptions {
  /** Default `auto`: the fastest that is installed. */
  readonly engine?: Engine;
  /** Most bytes the stream may decompress to; a stream that has more is refused once it gets there. */
  readonly maxOutputBytes?: number;
}

/**
 * Decompresses a stream of chunks (`none` passes them on). The work is done on libuv's thread pool while the caller uses
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
  compression: Compression,
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
  compression: Compression,
  engine: Engine,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "none":
      return source;
    case "gzip":
      return gunzip(source, engine);
    case "zstd":
      return unzstd(source, engine);
  }
}
