import { BLOCK_SIZE, type BlobRef, type Extent, HOLE } from "../../tree/index.ts";
import { CHUNK_FORMAT_BLKBITS_MASK, ChunkIndex, NULL_ADDR } from "../format.ts";
import { roundUp } from "./bytes.ts";
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
 * Chooses the chunk size of a regular file: one chunk over the whole file when its data lies contiguous, else the
 * largest power of two that every extent boundary is a multiple of.
 *
 * @returns log2 of the chunk size in blocks
 * @throws ErofsWriteError when the extents do not cover the file, leave their blob, or are too finely cut
 */
export function planChunks(item: Item, blobs: readonly BlobRef[]): number {
  const { size, extents } = item.inode;
  const totalBlocks = Math.ceil(size / BLOCK_SIZE);
  let bits = Math.min(ceilLog2(totalBlocks), CHUNK_FORMAT_BLKBITS_MASK);
  let position = 0;
  for (let i = 0; i < extents.length; i++) {
    const extent = extents[i]!;
    checkExtent(item, extent, blobs);
    if (i > 0 && !follows(extents[i - 1]!, extent)) bits = Math.min(bits, trailingZeros(position));
    position += extent.blocks;
  }
  if (position !== totalBlocks)
    throw new ErofsWriteError(
      "ERR_BAD_TREE",
      item.path,
      `${size} bytes are ${totalBlocks} blocks, the extents cover ${position}`,
    );
  const chunks = Math.ceil(totalBlocks / 2 ** bits);
  if (chunks > MAX_CHUNKS)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      item.path,
      `needs ${chunks} chunks of ${2 ** bits} blocks, at most ${MAX_CHUNKS} are written`,
    );
  return bits;
}

/** How many chunks, and so indexes, a planned file has. */
export function chunkCount(item: Item): number {
  return Math.ceil(Math.ceil(item.size / BLOCK_SIZE) / 2 ** item.chunkBits);
}

/** Where the indexes lie, in bytes from the inode's start, when the inode and its xattrs take `headBytes`. */
export function chunkIndexOffset(headBytes: number): number {
  return roundUp(headBytes, ChunkIndex.size);
}

/** Writes a file's chunk indexes at `at`. */
export function writeChunkIndexes(dv: DataView, item: Item, at: number, places: readonly BlobPlace[]): void {
  const chunkBlocks = 2 ** item.chunkBits;
  let position = 0;
  let chunk = 0;
  for (const extent of item.inode.extents) {
    const end = position + extent.blocks;
    const place = extent.blob === HOLE ? null : places[extent.blob]!;
    for (; chunk * chunkBlocks < end; chunk++, at += ChunkIndex.size) {
      if (place === null) {
        dv.setUint32(at + ChunkIndex.at.blkAddr, NULL_ADDR, true);
        continue;
      }
      const block = place.baseBlocks + extent.startBlock + chunk * chunkBlocks - position;
      dv.setUint16(at + ChunkIndex.at.deviceId, place.deviceId, true);
      dv.setUint32(at + ChunkIndex.at.blkAddr, block, true);
    }
    position = end;
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

function ceilLog2(value: number): number {
  let bits = 0;
  for (let reach = 1; reach < value; reach *= 2) bits++;
  return bits;
}

function trailingZeros(value: number): number {
  let bits = 0;
  for (; value % 2 === 0; value /= 2) bits++;
  return bits;
}
