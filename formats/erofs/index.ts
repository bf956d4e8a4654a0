/** EROFS images as bytes: on-disk declarations, checksum, reader, writer. */
export { crc32c, superBlockChecksum } from "./crc32c.ts";
export * from "./format.ts";
export {
  type Device,
  type DirEntry,
  type ErofsExtent,
  type ErofsInode,
  type ErofsReader,
  type OpenOptions,
  openErofs,
  PathError,
  readFileRange,
  type Superblock,
} from "./reader/index.ts";
export {
  type ErofsImage,
  ErofsWriteError,
  type ErofsWriteErrorCode,
  type WriteOptions,
  writeErofs,
} from "./writer/index.ts";
