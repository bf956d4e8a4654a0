/** The EROFS writer: a tree and its blobs to the bytes of the metadata. */
export { ErofsWriteError, type ErofsWriteErrorCode } from "./errors.ts";
export { type ErofsImage, type WriteOptions, writeErofs } from "./write.ts";
