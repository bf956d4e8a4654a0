import { roundUp } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import {
  ChunkIndex,
  DATALAYOUT_CHUNK_BASED,
  DATALAYOUT_FLAT_INLINE,
  DATALAYOUT_FLAT_PLAIN,
  FT_DIR,
  InodeCompact,
  InodeExtended,
  ISLOT_SIZE,
} from "../format.ts";
import { chunkIndexOffset } from "./chunks.ts";
import { directorySize } from "./dirents.ts";
import type { Item } from "./plan.ts";

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
 * @param items measured, with their xattr sizes known
 * @param buildMtimeId the mtime that compact inodes have
 */
export function layOut(items: readonly Item[], buildMtimeId: number, start: number): Layout {
  const place = placer(start);
  let dataBlocks = 0;
  let chunked = false;
  for (const item of items) {
    if (item.mtimeId !== buildMtimeId || item.nlink > 0xffff) item.extended = true;
    if (item.fileType === FT_DIR) item.size = directorySize(item);
    item.offset = place(planInode(item));
    item.firstDataBlock = dataBlocks;
    dataBlocks += item.dataBlocks;
    if (item.dataLayout === DATALAYOUT_CHUNK_BASED) chunked = true;
  }
  const dataStart = roundUp(place(0), BLOCK_SIZE);
  return { dataStart, end: dataStart + dataBlocks * BLOCK_SIZE, chunked };
}

/** Sets an item's data layout. Returns the bytes it takes in the inode area: head, then chunk indexes or tail. */
function planInode(item: Item): number {
  const headBytes = headSize(item);
  if (item.chunks > 0) {
    item.dataLayout = DATALAYOUT_CHUNK_BASED;
    return chunkIndexOffset(headBytes) + ChunkIndex.size * item.chunks;
  }
  // The tail must end in the block in which the inode starts: older kernels refuse a symlink otherwise.
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
