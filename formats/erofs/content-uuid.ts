import { createHash } from "node:crypto";

/**
 * The UUID of an image by its content: the first half of a sha256 over the metadata, with zeros for UUID and superblock
 * checksum, and the blobs' digests in hex, marked as RFC 9562 version 8. Equal images have equal UUIDs, and metadata
 * that has changed since no longer fits its UUID.
 *
 * @param metadata in pieces, in order
 */
export function contentUuid(metadata: Iterable<Uint8Array>, blobDigests: Iterable<string>): Buffer {
  const hash = createHash("sha256");
  for (const piece of metadata) hash.update(piece);
  for (const digestHex of blobDigests) hash.update(digestHex);
  const uuid = hash.digest().subarray(0, 16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x80;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}
