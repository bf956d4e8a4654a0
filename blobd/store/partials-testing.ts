/** Blobs to be filled chunk by chunk, for tests. */
import { createHash } from "node:crypto";
import { ChunkIndexWriter } from "../../formats/chunk-index/index.ts";
import type { PartialSource } from "./partial-source.ts";

export interface MadeBlob extends PartialSource {
  readonly content: Buffer;
}

/** A blob whose content follows from `seed`, uncompressed, in chunks of `chunkBytes`. */
export function makeBlob(seed: number, chunks: number, chunkBytes = 64 << 10): MadeBlob {
  const content = Buffer.alloc(chunks * chunkBytes);
  for (let at = 0; at < content.length; at += 4)
    content.writeUInt32LE((Math.imul(at + 1, 2654435761) ^ seed) >>> 0, at);
  const index = new ChunkIndexWriter("none", "sha256");
  const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
  for (let at = 0; at < content.length; at += chunkBytes)
    index.add(at, at, sha256(content.subarray(at, at + chunkBytes)));
  const contentHex = sha256(content).toString("hex");
  return { content, contentHex, index: index.finish(content.length), storedEnd: content.length };
}

/** The bytes of one chunk of a blob that makeBlob made. */
export function chunkOf({ content }: MadeBlob, chunk: number, chunkBytes = 64 << 10): Buffer {
  return content.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes);
}
