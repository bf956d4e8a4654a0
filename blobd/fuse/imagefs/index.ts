/** An image as a tree of files, from its metadata and its blobs: for guests without EROFS, and without a page cache. */
export type { ImageConfig } from "./config.ts";
export { openImage } from "./imagefs.ts";
export { closeImageShared, createImageShared, type ImageShared } from "./shared.ts";
