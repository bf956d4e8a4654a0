import { type ByteString, FormatError } from "../../bytes/index.ts";
import {
  type BlobRef,
  type Extent,
  HOLE,
  Inode,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type Tree,
} from "../../tree/index.ts";
import { fileTypeOf } from "../file-type.ts";
import { DirBlock, dirBlockCount, requireOrder } from "./dirents.ts";
import { chunkArray, mapExtents, PRIMARY_DEVICE } from "./extents.ts";
import { flatContent, inlineTail } from "./flat.ts";
import { Budget, type Image } from "./image.ts";
import { decodeInode, ErofsInode } from "./inode.ts";
import { NidSet } from "./nid-set.ts";
import { readSymlink } from "./symlink.ts";
import { XattrReader } from "./xattrs.ts";

/** Entries of one image, all directories together: just below what a Map holds (2^24). */
export const MAX_DIRENTS = 16_000_000;

export interface LoadOptions {
  /**
   * Regular files stored flat in the image itself (not in chunks, not on a device) become `inlineData` up to this size in
   * bytes, as the writer took them; 1 MiB unless told otherwise. Larger ones get extents and, if mkfs.erofs packed their
   * last bytes behind the inode, those bytes as `inlineData`. With 0 no file data is read.
   */
  readonly inlineLimitBytes?: number;
}

const DEFAULT_INLINE_LIMIT_BYTES = 1024 * 1024;

/**
 * The whole image as a tree.
 *
 * Blobs are the slots of the device table in order. If a file has extents in the image itself, the image is one more blob
 * after them, with an empty digest. Names of one NID share one Inode.
 *
 * @throws FormatError for a damaged image, one with a directory under two names, or one with compressed files.
 */
export function loadTree(image: Image, options: LoadOptions = {}): Tree {
  return new TreeLoader(image, options.inlineLimitBytes ?? DEFAULT_INLINE_LIMIT_BYTES).load();
}

/** A directory found and not yet read. */
interface PendingDirectory {
  readonly onDisk: ErofsInode;
  readonly parentNid: number;
  readonly children: Map<ByteString, Inode>;
}

class TreeLoader {
  readonly #image: Image;
  readonly #budget: Budget;
  readonly #xattrs: XattrReader;
  readonly #seen = new NidSet();
  /** Inodes with several names. */
  readonly #linked = new Map<number, Inode>();
  /** Directories still to read, in the order found, since their inodes and blocks tend to lie in that order. */
  readonly #pending: PendingDirectory[] = [];
  readonly #block = new DirBlock();
  /** The inode being decoded; a directory keeps it. */
  #onDisk = new ErofsInode();
  #direntsLeft = MAX_DIRENTS;
  /** Extents of the file being decoded, and how many there are, in all and in the image itself. */
  readonly #extents: Extent[] = [];
  #extentCount = 0;
  #primaryCount = 0;
  readonly #primaryBlob: number;
  #usesPrimary = false;
  readonly #inlineLimitBytes: number;

  constructor(image: Image, inlineLimitBytes: number) {
    this.#image = image;
    this.#inlineLimitBytes = inlineLimitBytes;
    this.#budget = new Budget(image);
    this.#xattrs = new XattrReader(image, this.#budget);
    this.#primaryBlob = image.devices.length;
  }

  load(): Tree {
    const { rootNid } = this.#image.superblock;
    this.#seen.add(rootNid);
    const root = this.#inode(rootNid, rootNid);
    if (root.children === null)
      throw new FormatError("ERR_BAD_VALUE", "erofs_super_block.rootNid", 0, `nid ${rootNid} is no directory`);
    for (let i = 0; i < this.#pending.length; i++) this.#readDirectory(this.#pending[i]!);
    return { root, blobs: this.#blobs() };
  }

  #readDirectory({ onDisk: dir, parentNid, children }: PendingDirectory): void {
    const block = this.#block;
    const blocks = dirBlockCount(dir);
    let previous = "";
    for (let b = 0; b < blocks; b++) {
      block.load(this.#image, dir, b);
      this.#budget.claim(block.length, "directory block", block.offset);
      this.#direntsLeft -= block.count;
      if (this.#direntsLeft < 0)
        throw new FormatError("ERR_UNSUPPORTED", "dirents", block.offset, `more than ${MAX_DIRENTS} in one image`);
      for (let i = 0; i < block.count; i++) {
        const name = block.name(i);
        if (!(previous < name)) requireOrder(previous, name, block.direntOffset(i));
        previous = name;
        const nid = block.nid(i);
        if (name === "." || name === "..") this.#requireDots(name === "." ? dir.nid : parentNid, nid, i);
        else children.set(name, this.#child(nid, dir.nid, i));
      }
    }
  }

  #requireDots(expected: number, nid: number, i: number): void {
    if (nid === expected) return;
    throw new FormatError(
      "ERR_BAD_VALUE",
      "erofs_dirent.nid",
      this.#block.direntOffset(i),
      `found ${nid} for . or .., expected ${expected}`,
    );
  }

  /** The inode of entry `i` of the block at hand. */
  #child(nid: number, parentNid: number, i: number): Inode {
    const child = this.#seen.add(nid) ? this.#inode(nid, parentNid) : this.#linkedInode(nid, i);
    const fileType = this.#block.fileType(i);
    if (fileType !== fileTypeOf(child.mode))
      throw new FormatError(
        "ERR_BAD_VALUE",
        "erofs_dirent.fileType",
        this.#block.direntOffset(i),
        `found ${fileType}, the mode of nid ${nid} is 0${child.mode.toString(8)}`,
      );
    return child;
  }

  /** The inode of a further name. */
  #linkedInode(nid: number, i: number): Inode {
    const inode = this.#linked.get(nid);
    if (inode !== undefined) return inode;
    throw new FormatError(
      "ERR_BAD_VALUE",
      "erofs_dirent.nid",
      this.#block.direntOffset(i),
      `found ${nid}, which has another name already and is a directory or has a link count of 1`,
    );
  }

  #inode(nid: number, parentNid: number): Inode {
    const onDisk = decodeInode(this.#image, nid, this.#onDisk);
    this.#budget.claim(onDisk.tailOffset - onDisk.offset, "erofs_inode", onDisk.offset);
    const inode = new Inode(onDisk.mode);
    inode.uid = onDisk.uid;
    inode.gid = onDisk.gid;
    inode.mtimeSeconds = onDisk.mtimeSeconds;
    inode.mtimeNanos = onDisk.mtimeNanos;
    if (onDisk.xattrIcount !== 0) inode.xattrs = this.#xattrs.list(onDisk);
    switch (onDisk.mode & S_IFMT) {
      case S_IFREG:
        this.#fileData(onDisk, inode);
        break;
      case S_IFDIR:
        this.#pending.push({ onDisk, parentNid, children: inode.children! });
        this.#onDisk = new ErofsInode();
        break;
      case S_IFLNK:
        this.#budget.claim(onDisk.size, "symlink target", onDisk.offset);
        inode.target = readSymlink(this.#image, onDisk);
        break;
      default:
        inode.rdevMajor = onDisk.rdevMajor;
        inode.rdevMinor = onDisk.rdevMinor;
    }
    if (onDisk.nlink > 1 && inode.children === null) this.#linked.set(nid, inode);
    return inode;
  }

  #fileData(onDisk: ErofsInode, inode: Inode): void {
    inode.size = onDisk.size;
    if (onDisk.size === 0) return;
    const array = chunkArray(this.#image, onDisk);
    if (array !== null) this.#budget.claim(array.bytes, "chunk array", array.offset);
    this.#extentCount = 0;
    this.#primaryCount = 0;
    mapExtents(this.#image, onDisk, this.#addExtent);
    const allPrimary = this.#primaryCount === this.#extentCount;
    if (array === null && allPrimary && onDisk.size <= this.#inlineLimitBytes) {
      this.#budget.claim(onDisk.size, "inline data", onDisk.offset);
      inode.inlineData = flatContent(this.#image, onDisk);
      return;
    }
    // A copy of exact size: an array that grew by push keeps room for 17.
    if (this.#extentCount > 0) inode.extents = this.#extents.slice(0, this.#extentCount);
    if (this.#primaryCount > 0) this.#usesPrimary = true;
    const tail = inlineTail(this.#image, onDisk);
    this.#budget.claim(tail.length, "inline data", onDisk.tailOffset);
    if (tail.length > 0) inode.inlineData = tail;
  }

  readonly #addExtent = (device: number, startBlock: number, blocks: number): void => {
    const blob = device === HOLE ? HOLE : device === PRIMARY_DEVICE ? this.#primaryBlob : device - 1;
    if (device === PRIMARY_DEVICE) this.#primaryCount++;
    this.#extents[this.#extentCount++] = { blob, startBlock, blocks };
  };

  #blobs(): BlobRef[] {
    const blobs: BlobRef[] = this.#image.devices.map(({ tag, blocks }) => ({
      digestHex: SHA256_HEX.test(tag) ? tag : "",
      blocks,
    }));
    if (this.#usesPrimary) blobs.push({ digestHex: "", blocks: this.#image.sourceBlocks });
    return blobs;
  }
}

const SHA256_HEX = /^[0-9a-f]{64}$/;
