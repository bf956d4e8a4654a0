/** The EROFS writer: a tree and its blobs to the bytes of the metadata. */
export { isMisreadAfter } from "./chunks.ts";
export { ErofsWriteError, type ErofsWriteErrorCode } from "./errors.ts";
export { type ErofsImage, type WriteOptions, writeErofs } from "./write.ts";
