import { roundUp } from "../../bytes/index.ts";
import { BLOCK_SIZE, type BlobRef, type Extent, HOLE } from "../../tree/index.ts";
import { CHUNK_FORMAT_BLKBITS_MASK, ChunkIndex, NULL_ADDR } from "../format.ts";
import { ErofsWriteError } from "./errors.ts";
import type { Item } from "./plan.ts";

/** Chunks a file may have: 128 GiB in 4 KiB pieces, 256 MiB of indexes. More is a hostile sparse file. */
export const MAX_CHUNKS = 2 ** 25;

/** What a chunk index says of a blob: its device id, and what is added to block numbers. */
export interface BlobPlace {
  readonly deviceId: number;
  readonly baseBlocks: number;
}

/**
 * Chooses the chunk size of a regular file, `item.chunkBits`, and with it `item.chunks`: one chunk over the whole file
 * when its data lies contiguous, else the largest power of two that every extent boundary is a multiple of.
 *
 * @param apart whether each blob is a device of its own
 * @throws ErofsWriteError when the extents do not cover the file, leave their blob, are too finely cut, or would be read
 *   wrong
 */
export function planChunks(item: Item, blobs: readonly BlobRef[], apart: boolean): void {
  const { size, extents } = item.inode;
  const totalBlocks = Math.ceil(size / BLOCK_SIZE);
  let chunkBits = 0;
  let chunkBlocks = 1;
  for (; chunkBlocks < totalBlocks && chunkBits < CHUNK_FORMAT_BLKBITS_MASK; chunkBits++) chunkBlocks *= 2;
  let position = 0;
  for (let i = 0; i < extents.length; i++) {
    const extent = extents[i]!;
    checkExtent(item, extent, blobs);
    if (i > 0 && !follows(extents[i - 1]!, extent)) for (; position % chunkBlocks !== 0; chunkBits--) chunkBlocks /= 2;
    position += extent.blocks;
  }
  if (position !== totalBlocks)
    throw new ErofsWriteError(
      "ERR_BAD_TREE",
      item.path,
      `${size} bytes are ${totalBlocks} blocks, the extents cover ${position}`,
    );
  if (apart && extents.length > 1) checkMerges(item);
  item.chunkBits = chunkBits;
  item.chunks = Math.ceil(totalBlocks / chunkBlocks);
  if (item.chunks > MAX_CHUNKS)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      item.path,
      `needs ${item.chunks} chunks of ${chunkBlocks} blocks, at most ${MAX_CHUNKS} are written`,
    );
}

/** Where the indexes lie, in bytes from the inode's start, when the inode and its xattrs take `headBytes`. */
export function chunkIndexOffset(headBytes: number): number {
  return roundUp(headBytes, ChunkIndex.size);
}

/** Writes a file's chunk indexes at `at`. */
export function writeChunkIndexes(dv: DataView, item: Item, at: number, places: readonly BlobPlace[]): void {
  const chunkBlocks = item.chunks === 1 ? Number.POSITIVE_INFINITY : 2 ** item.chunkBits;
  let chunkStart = 0;
  let position = 0;
  for (const extent of item.inode.extents) {
    const end = position + extent.blocks;
    for (; chunkStart < end; chunkStart += chunkBlocks, at += ChunkIndex.size) {
      if (extent.blob === HOLE) {
        dv.setUint32(at + ChunkIndex.at.blkAddr, NULL_ADDR, true);
        continue;
      }
      const place = places[extent.blob]!;
      dv.setUint16(at + ChunkIndex.at.deviceId, place.deviceId, true);
      dv.setUint32(at + ChunkIndex.at.blkAddr, place.baseBlocks + extent.startBlock + chunkStart - position, true);
    }
    position = end;
  }
}

/**
 * Whether Linux would read `next` from the blob of `previous`, when each blob is a device of its own. Buffered reads are
 * joined when their sectors follow each other, without a look at the device (fs/iomap, seen on 6.18, reported in June
 * 2026: "erofs: prevent buffered read bio merges across device chunks"). Whoever composes a file of several blobs has to
 * avoid such neighbours; holes between the two do not help. One flat device is not affected.
 *
 * @param previous the last extent before `next` that is no hole
 */
export function isMisreadAfter(previous: Extent, next: Extent): boolean {
  if (previous.blob === next.blob || previous.blob === HOLE || next.blob === HOLE) return false;
  return previous.startBlock + previous.blocks === next.startBlock;
}

function checkMerges(item: Item): void {
  let previous: Extent | undefined;
  for (const extent of item.inode.extents) {
    if (extent.blob === HOLE) continue;
    if (previous !== undefined && isMisreadAfter(previous, extent))
      throw new ErofsWriteError(
        "ERR_UNSUPPORTED",
        item.path,
        `data of blob ${extent.blob} from block ${extent.startBlock} follows data of blob ${previous.blob} up to that ` +
          "block number: Linux would read both from the first device",
      );
    previous = extent;
  }
}

/** Whether `next` continues `extent` on disk, so that no chunk boundary is needed between them. */
function follows(extent: Extent, next: Extent): boolean {
  if (extent.blob !== next.blob) return false;
  return next.blob === HOLE || extent.startBlock + extent.blocks === next.startBlock;
}

function checkExtent(item: Item, { blob, startBlock, blocks }: Extent, blobs: readonly BlobRef[]): void {
  if (blob === HOLE && Number.isSafeInteger(blocks) && blocks > 0) return;
  const length = blobs[blob]?.blocks ?? -1;
  if (Number.isInteger(startBlock) && Number.isInteger(blocks) && startBlock >= 0 && blocks > 0)
    if (startBlock + blocks <= length) return;
  throw new ErofsWriteError(
    "ERR_BAD_TREE",
    item.path,
    length < 0
      ? `an extent names blob ${blob}, the tree has ${blobs.length}`
      : `an extent is blocks ${startBlock} to ${startBlock + blocks} of blob ${blob}, which has ${length}`,
  );
}
