/** The file tree that every reader fills and every writer takes: inodes, data extents, and a layer's marks. */
export { type DumpOptions, dumpTree, typeLetter } from "./dump.ts";
export {
  BLOCK_SIZE,
  type BlobRef,
  type Extent,
  HOLE,
  Inode,
  removeXattr,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  setXattr,
  type Tree,
  type Xattr,
  xattrValue,
} from "./inode.ts";
export {
  escapeMarks,
  isImplied,
  isOpaque,
  isWhiteout,
  lowerLinkTarget,
  newImpliedDirectory,
  newLowerLink,
  newWhiteout,
  removeMarks,
  setOpaque,
  XATTR_IMPLIED,
  XATTR_METACOPY,
  XATTR_OPAQUE,
  XATTR_REDIRECT,
} from "./layer-marks.ts";
export { mergeLayers } from "./merge.ts";
export { cleanPath, lookup, type MakeDirectory, resolveDirectory } from "./path.ts";
