import { createHash } from "node:crypto";
import { MAX_INDEX_BYTES, skippablePayload } from "../../formats/chunk-index/index.ts";
import { digestHex, type ErofsLayer } from "../../formats/oci/index.ts";
import { Attempts, type RetryPolicy, SourceError } from "../registry/index.ts";
import type { PartialSource } from "../store/index.ts";
import type { BlobSource } from "./source.ts";

/**
 * Reads a layer's chunk index from the first source that has it, and checks its digest.
 *
 * @param sources of the blob that holds the index: of the layer itself, when the index is part of it
 * @returns undefined when the layer has none that can be relied on: it must be read as a whole then
 * @throws SourceError, FormatError; the signal's reason
 */
export async function fetchChunkIndex(
  layer: ErofsLayer,
  sources: readonly BlobSource[],
  retry: RetryPolicy,
  signal: AbortSignal,
): Promise<PartialSource | undefined> {
  const location = layer.chunkIndex;
  // Without a digest in the manifest nothing says that the index is the one that was pushed.
  if (location?.digest === undefined) return undefined;
  const bytes = location.end - location.start;
  if (bytes > MAX_INDEX_BYTES + FRAME_ROOM_BYTES)
    throw new SourceError("ERR_LIMIT", `chunk index of ${bytes} bytes, at most ${MAX_INDEX_BYTES} are read`);
  let failure: unknown;
  for (const source of sources) {
    try {
      const section = await readAll(source, location.start, bytes, retry, signal);
      const index = location.framed ? skippablePayload(section) : section;
      const found = `sha256:${createHash("sha256").update(index).digest("hex")}`;
      if (found !== location.digest)
        throw new SourceError(
          "ERR_DIGEST",
          `chunk index from ${source.name}: found ${found}, expected ${location.digest}`,
        );
      const storedEnd = location.framed ? location.start : layer.descriptor.size;
      return { contentHex: digestHex(layer.contentDigest), index, storedEnd };
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}

async function readAll(
  source: BlobSource,
  start: number,
  bytes: number,
  retry: RetryPolicy,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const attempts = new Attempts(retry, signal);
  const into = new Uint8Array(bytes);
  for (let filled = 0; filled < bytes; ) {
    try {
      for await (const piece of source.read(start + filled, bytes - filled, signal)) {
        into.set(piece, filled);
        filled += piece.length;
      }
      if (filled < bytes)
        throw new SourceError("ERR_LENGTH", `chunk index from ${source.name} ends after ${filled} bytes`);
    } catch (error) {
      await attempts.failed(error);
    }
  }
  return into;
}

const FRAME_ROOM_BYTES = 64;
