import { type FileHandle, open } from "node:fs/promises";
import { ioError } from "../../blobd/registry/index.ts";

/** Large enough that a read's hop to the thread pool does not count, small enough to stay in the processor's cache. */
const CHUNK_BYTES = 1 << 20;

/**
 * `size` bytes of a file from `offset`, fewer when it ends before. One read is always under way ahead of the consumer.
 * Chunks are the consumer's to keep.
 *
 * @throws SourceError ERR_NOT_FOUND, ERR_IO
 */
export async function* readFileRange(
  path: string,
  offset: number,
  size: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await open(path).catch((error) => {
    throw ioError(path, error);
  });
  let ahead: Promise<Uint8Array> | undefined;
  try {
    ahead = readAt(file, path, offset, size);
    for (let at = 0; at < size; ) {
      signal?.throwIfAborted();
      const chunk = await ahead;
      if (chunk.length === 0) return;
      at += chunk.length;
      ahead = readAt(file, path, offset + at, size - at);
      yield chunk;
    }
  } finally {
    await ahead?.catch(() => {});
    await file.close();
  }
}

async function readAt(file: FileHandle, path: string, position: number, most: number): Promise<Uint8Array> {
  const length = Math.min(CHUNK_BYTES, most);
  if (length === 0) return new Uint8Array(0);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, position);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw ioError(path, error);
  }
}
