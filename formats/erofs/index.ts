/**
 * EROFS images as bytes: on-disk declarations, checksum, reader. `check` and `writer` are rooms of their own, with their own
 * doors: what opens an image needs neither, and loads neither.
 */
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
