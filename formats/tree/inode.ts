import type { ByteString } from "../bytes/index.ts";

/** File type bits of st_mode. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** An extended attribute: full name with its prefix (`security.capability`), value as bytes. */
export interface Xattr {
  readonly name: ByteString;
  readonly value: ByteString;
}

/** Extent of a hole: reads as zeros, no storage. */
export const HOLE = -1;

/** A run of a file's data that lies contiguous in one blob. */
export interface Extent {
  /** Index into `Tree.blobs`, or HOLE. */
  readonly blob: number;
  /** First block in the blob, in 4 KiB blocks; 0 for a hole. */
  readonly startBlock: number;
  /** Length in 4 KiB blocks; the file's last block may be used in part (its rest is zero in the blob). */
  readonly blocks: number;
}

/**
 * One inode. Hard links are one Inode object under several names. nlink is not stored: whoever needs it counts.
 * Extended attributes have unique names and are kept sorted by name in byte order.
 */
export class Inode {
  /** st_mode: file type and permission bits. */
  mode: number;
  uid = 0;
  gid = 0;
  /** Seconds since 1970, negative before. */
  mtimeSeconds = 0;
  mtimeNanos = 0;
  xattrs: readonly Xattr[] = NO_XATTRS;
  /** Regular file: size in bytes. Other types: 0 (a symlink's size is its target's length). */
  size = 0;
  /** Regular file: its data in order, without gaps (holes are extents), covering ceil(size / 4096) blocks. */
  extents: readonly Extent[] = NO_EXTENTS;
  /**
   * Regular file whose whole content lives in the metadata (`--inline-tails`); then `extents` is empty. Only large files of
   * images from elsewhere have both: full blocks in extents, and here the bytes after them.
   */
  inlineData: Uint8Array | null = null;
  /** Symlink: its target. */
  target: ByteString = "";
  /** Device: its numbers. */
  rdevMajor = 0;
  rdevMinor = 0;
  /** Directory: its entries by name, `.` and `..` left out; null for other types. */
  readonly children: Map<ByteString, Inode> | null;

  constructor(mode: number) {
    this.mode = mode;
    this.children = (mode & S_IFMT) === S_IFDIR ? new Map() : null;
  }

  /** The file type bits (S_IFREG and so on). */
  get type(): number {
    return this.mode & S_IFMT;
  }
}

const NO_XATTRS: readonly Xattr[] = [];
const NO_EXTENTS: readonly Extent[] = [];

/** A blob that a tree's extents point into. */
export interface BlobRef {
  /** sha256 of the blob file, 64 hex digits. */
  readonly digestHex: string;
  /** The blob's size in 4 KiB blocks. */
  readonly blocks: number;
}

/** A file tree and the blobs that hold its data. */
export interface Tree {
  readonly root: Inode;
  readonly blobs: readonly BlobRef[];
}

/** Block size of every image and blob, in bytes. */
export const BLOCK_SIZE = 4096;

/** The value of an extended attribute, or undefined. */
export function xattrValue(inode: Inode, name: ByteString): ByteString | undefined {
  return inode.xattrs.find((x) => x.name === name)?.value;
}

/** Sets an extended attribute, keeping order and uniqueness. */
export function setXattr(inode: Inode, name: ByteString, value: ByteString): void {
  const rest = inode.xattrs.filter((x) => x.name !== name);
  inode.xattrs = [...rest, { name, value }].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Removes an extended attribute if it is there. */
export function removeXattr(inode: Inode, name: ByteString): void {
  if (inode.xattrs.some((x) => x.name === name)) inode.xattrs = inode.xattrs.filter((x) => x.name !== name);
}
