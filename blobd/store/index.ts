/**
 * The local content-addressed store: what the converter writes and the daemon serves.
 *
 *     <root>/
 *       erofsify-store-1          empty; says that this is a store, version 1 of the layout
 *       blobs/sha256/<hex>        complete files, mode 0444: layers' data (blobs) and EROFS images (metas)
 *       verified/sha256/<hex>.json   size, inode, mtime and ctime of the blob when its digest was last known to be right
 *       layers/<key>.json         layer digest + options + format version → meta, blob, statistics
 *       images/<key>.json         manifest digest + options → merged meta, blobs, layer keys, config; mtime = last use
 *       holds/<key>.json          what snapshots and the like need: prune leaves it alone
 *       encodings/<key>.json      blob + compression → what it is in a registry; a memory of pushes
 *       partial/<key>.{data,map,index}   a blob that is fetched chunk by chunk: see partials.ts
 *       tmp/<pid>-<random>        files in flight
 *       locks/<hex>               flock: a layer in conversion, or a blob that is put in place or removed
 *       lock                      flock: users hold it shared, who removes things exclusive
 *
 * - A file in `blobs` is complete and has the sha256 of its name, as `sha256sum` sees it. Its size is a multiple of
 *   2 MiB, so that it can be a virtio-pmem device as it is; the padding is zeros, a hole, and part of the digest. Before
 *   it there can be a hash tree over the data (formats/verity), of which the records tell.
 * - A record is written when the files it names are on the disk, and is believed only when they are still there with the
 *   size, inode and times they had when last read; else it counts as absent and the next conversion repairs it.
 * - A blob is used by name under the shared lock, or through a descriptor or mapping for as long as one likes: removal
 *   does not take it away from whoever has it open.
 * - Partial blobs (on demand) live beside `blobs`, not in it: what is in `blobs` stays complete.
 *
 * Reasons: docs/decisions/0004-store-layout.md.
 */
export { BlobWriter, type FinishedBlob, RETAIN_BYTES } from "./blob-writer.ts";
export type { BlobState } from "./blobs.ts";
export { StoreError, type StoreErrorCode } from "./errors.ts";
export type { EvictOptions, EvictResult } from "./evict.ts";
export type { FoundHold, Hold } from "./holds.ts";
export { PartialBlob } from "./partial-blob.ts";
export type { PartialPromise, PartialSource } from "./partial-source.ts";
export type { PartialInfo, Partials } from "./partials.ts";
export { defaultStoreRoot, storeOf } from "./paths.ts";
export type { PruneOptions, PruneResult } from "./prune.ts";
export {
  type EncodingRecord,
  type ImageRecord,
  type LayerRecord,
  type RecordStats,
  type StoredFile,
  storedFileOf,
} from "./records.ts";
export { openServedPartial } from "./served-partial.ts";
export { type SharedBlob, SharedBlobReader } from "./shared-blob.ts";
export { type BlobOptions, type FoundImage, recordKey, Store, type StoreOptions } from "./store.ts";
export { type StoreSize, storeSize } from "./store-size.ts";
export { verityRootOf, verityTailOf } from "./verity-file.ts";
