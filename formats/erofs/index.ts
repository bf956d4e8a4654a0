/** EROFS images as bytes: on-disk declarations, checksum, checker, reader, writer. */
export {
  type CheckOptions,
  type CheckProblem,
  type CheckResult,
  checkErofs,
  type DeviceStats,
  type ImageStats,
  imageStats,
} from "./check/index.ts";
export { crc32c, superBlockChecksum } from "./crc32c.ts";
export * from "./format.ts";
export {
  type Device,
  type DirEntry,
  type ErofsExtent,
  type ErofsInode,
  type ErofsReader,
  type LoadOptions,
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
  isMisreadAfter,
  type WriteOptions,
  writeErofs,
} from "./writer/index.ts";
