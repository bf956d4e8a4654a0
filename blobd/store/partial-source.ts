import { createHash } from "node:crypto";
import { FormatError } from "../../formats/bytes/index.ts";
import { type ChunkIndex, decodeChunkIndex } from "../../formats/chunk-index/index.ts";
import { PAGE_SIZE } from "../sys/index.ts";

/** A blob that is to be fetched chunk by chunk. */
export interface PartialSource {
  /** sha256 of the content as the image promises it, 64 hex digits. */
  readonly contentHex: string;
  /** The chunk index without its frame. It must have checksums: they are what decides the content. */
  readonly index: Uint8Array;
  /** Where the chunks' stored bytes end in their blob: see decodeChunkIndex. */
  readonly storedEnd: number;
}

/** What is promised of a blob; the chunk index is known by its digest alone. */
export interface PartialPromise {
  readonly contentHex: string;
  /** sha256 of the chunk index, 64 hex digits. */
  readonly indexHex: string;
  readonly storedEnd: number;
}

/** The name of a blob that is not complete: see Partials. */
export function keyOf({ contentHex, indexHex, storedEnd }: PartialPromise): string {
  return createHash("sha256").update(`${contentHex} ${indexHex} ${storedEnd}\n`).digest("hex");
}

export function promiseOf({ contentHex, index, storedEnd }: PartialSource): PartialPromise {
  return { contentHex, indexHex: createHash("sha256").update(index).digest("hex"), storedEnd };
}

/** An index by which a blob can be filled. @throws FormatError */
export function usableIndex(payload: Uint8Array, storedEnd: number): ChunkIndex {
  const index = decodeChunkIndex(payload, storedEnd);
  if (index.hash !== "sha256")
    throw new FormatError("ERR_UNSUPPORTED", "chunk_index_header.hashAlgo", 20, `found ${index.hash}, expected sha256`);
  for (let chunk = 1; chunk < index.count; chunk++)
    if (index.offset(chunk) % PAGE_SIZE !== 0)
      throw new FormatError(
        "ERR_UNSUPPORTED",
        `entry[${chunk}].UncompressedOffset`,
        0,
        `found ${index.offset(chunk)}, expected a multiple of ${PAGE_SIZE}`,
      );
  return index;
}
