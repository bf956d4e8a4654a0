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
  BlockRun,
  type Device,
  type DirEntry,
  decodeInode,
  dirBlockCount,
  type ErofsExtent,
  ErofsInode,
  type ErofsReader,
  findDirent,
  findRun,
  flatBlockOffset,
  inlineTailBytes,
  type LoadOptions,
  type OpenOptions,
  openErofs,
  PathError,
  RawDirBlock,
  RawXattrs,
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
