import { struct } from "../bytes/index.ts";

/**
 * The chunk index of the draft EROFS image specification, version 1 (erofs/erofs-image-spec, spec.md, 3.4).
 *
 *     │ header, 32 │ entry 0 │ entry 1 │ … │ entry NumChunks - 1 │
 *                    blockOffset u64, uncompressedOffset u64, checksum[HashSize]
 *
 * In a compressed blob it is the payload of a trailing skippable zstd frame, which a decoder passes over:
 *
 *     │ zstd frame of chunk 0 │ frame of chunk 1 │ … │ magic u32, bytes u32, chunk index │
 *                                                    ^ chunkIndexStart, a multiple of 4
 */
export const Header = struct("chunk_index_header", 32, {
  magic: "u32",
  version: "u8",
  compressionType: "u8",
  flags: "u16",
  uncompressedSize: "u53",
  numChunks: "u32",
  hashAlgo: "u8",
  hashSize: "u8",
  reserved: "bytes10",
});

/** An entry without its checksum, which follows at once. */
export const Entry = struct("chunk_index_entry", 16, { blockOffset: "u53", uncompressedOffset: "u53" });

/** The bytes CD E4 EC 67. */
export const MAGIC = 0x67ec_e4cd;
export const VERSION = 1;

/** How a chunk lies in the blob: as it is, or as one zstd frame. */
export type ChunkCompression = "none" | "zstd";
export const COMPRESSION_TYPES: readonly ChunkCompression[] = ["none", "zstd"];

/** What is taken over a chunk's bytes as stored; the formats' names for SHA-2 of 32 and 64 bytes. */
export type ChunkHash = "none" | "sha256" | "sha512";
export const HASH_BYTES: Readonly<Record<ChunkHash, number>> = { none: 0, sha256: 32, sha512: 64 };
/** `HashAlgo` of the SHA-2 family. */
export const HASH_ALGO_SHA2 = 1;

/** Longest index that is read, in bytes: 1.4 million chunks with SHA-256. */
export const MAX_INDEX_BYTES = 64 << 20;
/** Longest chunk that is read, in bytes unpacked: what one page fault may cost in memory and time. */
export const MAX_CHUNK_BYTES = 16 << 20;

/** The most that a chunk of `bytes` may take as a zstd frame with padding: ZSTD_COMPRESSBOUND, and some for headers. */
export function maxStoredBytes(bytes: number): number {
  return bytes + Math.floor(bytes / 256) + (64 << 10);
}
