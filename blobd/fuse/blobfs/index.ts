/** An image's metadata and blobs as files of one directory: for guests that mount EROFS themselves. */
export { openBlobs } from "./blobfs.ts";
export type { BlobEntry, BlobsConfig } from "./config.ts";
export { type BlobsShared, closeBlobsShared, createBlobsShared } from "./shared.ts";
