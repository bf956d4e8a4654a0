/** EROFS images as bytes: on-disk declarations, checksum, writer. */
export { crc32c, superBlockChecksum } from "./crc32c.ts";
export * from "./format.ts";
export {
  type ErofsImage,
  ErofsWriteError,
  type ErofsWriteErrorCode,
  type WriteOptions,
  writeErofs,
} from "./writer/index.ts";
