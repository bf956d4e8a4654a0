import { BLOCK_SIZE, type BlobRef } from "../../tree/index.ts";
import {
  ChunkIndex,
  DATALAYOUT_CHUNK_BASED,
  DATALAYOUT_FLAT_INLINE,
  DATALAYOUT_FLAT_PLAIN,
  FT_DIR,
  FT_REG_FILE,
  FT_SYMLINK,
  InodeCompact,
  InodeExtended,
  ISLOT_SIZE,
} from "../format.ts";
import type { BuildTime } from "./buildtime.ts";
import { roundUp } from "./bytes.ts";
import { chunkCount, chunkIndexOffset, planChunks } from "./chunks.ts";
import { directorySize } from "./dirents.ts";
import { ErofsWriteError } from "./errors.ts";
import type { Item } from "./plan.ts";

/** Longest symlink target: Linux PATH_MAX less the NUL. */
const MAX_TARGET_BYTES = 4095;
const MAX_U32 = 0xffffffff;

/** Where the two areas behind the shared xattrs lie. */
export interface Layout {
  /** First byte of the data area (directory blocks and the like), block-aligned. */
  readonly dataStart: number;
  /** Bytes of the whole metadata, whole blocks. */
  readonly end: number;
  readonly chunked: boolean;
}

/**
 * Decides each item's form and place. Inodes are put one behind the other from `start` on, none across a block
 * boundary unless it is larger than a block; what an inode leaves at a block's end is filled by later, smaller ones.
 *
 * @throws ErofsWriteError when an inode cannot be expressed
 */
export function layOut(items: readonly Item[], blobs: readonly BlobRef[], buildTime: BuildTime, start: number): Layout {
  const place = placer(start);
  let dataBlocks = 0;
  let chunked = false;
  for (const item of items) {
    item.offset = place(planInode(item, blobs, buildTime));
    item.firstDataBlock = dataBlocks;
    dataBlocks += item.dataBlocks;
    if (item.dataLayout === DATALAYOUT_CHUNK_BASED) chunked = true;
  }
  const dataStart = roundUp(place(0), BLOCK_SIZE);
  return { dataStart, end: dataStart + dataBlocks * BLOCK_SIZE, chunked };
}

/** Sets an item's form. Returns the bytes it takes in the inode area: inode, xattrs, then chunk indexes or tail. */
function planInode(item: Item, blobs: readonly BlobRef[], buildTime: BuildTime): number {
  item.size = contentSize(item);
  item.extended = needsExtended(item, buildTime);
  const headBytes = headSize(item);
  if (item.fileType === FT_REG_FILE && item.inode.inlineData === null && item.size > 0) {
    item.dataLayout = DATALAYOUT_CHUNK_BASED;
    item.chunkBits = planChunks(item, blobs);
    return chunkIndexOffset(headBytes) + ChunkIndex.size * chunkCount(item);
  }
  // The tail must end in the block in which the inode starts: kernels before 6.10 refuse a symlink otherwise.
  const tailBytes = item.size % BLOCK_SIZE;
  const inline = tailBytes > 0 && headBytes + tailBytes <= BLOCK_SIZE;
  item.dataLayout = inline ? DATALAYOUT_FLAT_INLINE : DATALAYOUT_FLAT_PLAIN;
  item.dataBlocks = inline ? Math.floor(item.size / BLOCK_SIZE) : Math.ceil(item.size / BLOCK_SIZE);
  return inline ? headBytes + tailBytes : headBytes;
}

/** Bytes of the inode and its xattrs. */
export function headSize(item: Item): number {
  return (item.extended ? InodeExtended.size : InodeCompact.size) + item.xattrBytes;
}

function contentSize(item: Item): number {
  const { inode } = item;
  switch (item.fileType) {
    case FT_DIR:
      return directorySize(item);
    case FT_SYMLINK:
      if (inode.target.length >= 1 && inode.target.length <= MAX_TARGET_BYTES) return inode.target.length;
      throw new ErofsWriteError(
        inode.target === "" ? "ERR_BAD_TREE" : "ERR_LIMIT",
        item.path,
        `the link target has ${inode.target.length} bytes, it must have 1 to ${MAX_TARGET_BYTES}`,
      );
    case FT_REG_FILE:
      if (inode.inlineData !== null && inode.inlineData.length !== inode.size)
        throw new ErofsWriteError(
          "ERR_BAD_TREE",
          item.path,
          `${inode.size} bytes, but ${inode.inlineData.length} of inline data`,
        );
      return inode.size;
    default:
      return 0;
  }
}

/** A compact inode has 16-bit owners and link count, a 32-bit size, and the image's build time. */
function needsExtended(item: Item, buildTime: BuildTime): boolean {
  const { inode } = item;
  checkNumbers(item);
  return (
    inode.mtimeSeconds !== buildTime.seconds ||
    inode.mtimeNanos !== buildTime.nanos ||
    inode.uid > 0xffff ||
    inode.gid > 0xffff ||
    item.nlink > 0xffff ||
    item.size > MAX_U32
  );
}

function checkNumbers(item: Item): void {
  const { uid, gid, mode, size, mtimeSeconds, mtimeNanos, rdevMajor, rdevMinor } = item.inode;
  if (
    isWithin(uid, MAX_U32) &&
    isWithin(gid, MAX_U32) &&
    isWithin(mode, 0xffff) &&
    isWithin(size, Number.MAX_SAFE_INTEGER) &&
    Number.isSafeInteger(mtimeSeconds) &&
    isWithin(mtimeNanos, 999_999_999) &&
    isWithin(rdevMajor, 0xfff) &&
    isWithin(rdevMinor, 0xfffff)
  )
    return;
  throw new ErofsWriteError(
    "ERR_LIMIT",
    item.path,
    `owner ${uid}:${gid}, mode 0${mode.toString(8)}, size ${size}, mtime ${mtimeSeconds} s ${mtimeNanos} ns, ` +
      `device ${rdevMajor}:${rdevMinor}: one of them is outside what the format holds`,
  );
}

function isWithin(value: number, max: number): boolean {
  return value >= 0 && value <= max && Number.isInteger(value);
}

/** A bump allocator with one gap: `place(bytes)` gives the next fitting offset in whole inode slots. */
function placer(start: number): (bytes: number) => number {
  let end = start;
  let gapStart = 0;
  let gapEnd = 0;
  return (bytes) => {
    const need = roundUp(bytes, ISLOT_SIZE);
    if (need > 0 && need <= gapEnd - gapStart) {
      gapStart += need;
      return gapStart - need;
    }
    const left = roundUp(end, BLOCK_SIZE) - end;
    if (need > left && left > 0) {
      if (left > gapEnd - gapStart) {
        gapStart = end;
        gapEnd = end + left;
      }
      end += left;
    }
    end += need;
    return end - need;
  };
}
