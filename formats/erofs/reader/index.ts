/** Reading EROFS images. */
export { DirBlock, type DirEntry, dirBlockCount } from "./dirents.ts";
export { chunkArray, type ErofsExtent, mapExtents, PRIMARY_DEVICE } from "./extents.ts";
export { findDirent, RawDirBlock } from "./find-dirent.ts";
export { BlockRun, findRun } from "./find-run.ts";
export { flatBlockOffset, inlineTail, inlineTailBytes } from "./flat.ts";
export { Budget, type Image } from "./image.ts";
export { decodeInode, ErofsInode } from "./inode.ts";
export { type LoadOptions, MAX_DIRENTS } from "./load-tree.ts";
export type { Pages } from "./pages.ts";
export { RawXattrs } from "./raw-xattrs.ts";
export { ErofsReader, type OpenOptions, openErofs, readFileRange } from "./reader.ts";
export { PathError } from "./resolve.ts";
export { type Device, requireChecksum, type Superblock } from "./superblock.ts";
export { readSymlink } from "./symlink.ts";
export { XattrReader } from "./xattrs.ts";
