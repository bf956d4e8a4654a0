import { BLOCK_SIZE, HOLE } from "../../tree/index.ts";
import {
  CHUNK_FORMAT_BLKBITS_MASK,
  CHUNK_FORMAT_INDEXES,
  ChunkIndex,
  DATALAYOUT_CHUNK_BASED,
  DATALAYOUT_FLAT_INLINE,
  NULL_ADDR,
} from "../format.ts";
import { BLOCK_MAP_ENTRY_SIZE, chunkFormat, PRIMARY_DEVICE, requireInside, unifiedSlot } from "./extents.ts";
import type { Image } from "./image.ts";
import { type ErofsInode, refuseCompressed } from "./inode.ts";

/** Blocks of a file that lie in a row, as ErofsExtent; filled again and again. */
export class BlockRun {
  device = HOLE;
  blkAddr = 0;
  /** 0: the block lies behind the inode itself, see inlineTail. */
  blocks = 0;
}

/**
 * Where a regular file's blocks from `block` on lie: as many as lie in a row, at most `wanted`. Looks at the chunks it needs
 * only, and allocates nothing: for a server that answers reads of large files.
 *
 * @param block less than the file has
 * @param wanted 1 or more
 * @throws FormatError
 */
export function findRun(image: Image, inode: ErofsInode, block: number, wanted: number, into: BlockRun): void {
  const blocks = Math.ceil(inode.size / BLOCK_SIZE);
  const last = Math.min(blocks, block + wanted);
  if (inode.dataLayout === DATALAYOUT_CHUNK_BASED) {
    findChunks(image, inode, block, last, into);
    return;
  }
  refuseCompressed(inode);
  const flatEnd = inode.dataLayout === DATALAYOUT_FLAT_INLINE ? Math.min(last, blocks - 1) : last;
  into.blocks = Math.max(0, flatEnd - block);
  into.device = HOLE;
  into.blkAddr = 0;
  if (into.blocks === 0 || inode.u === NULL_ADDR) return;
  const slot = unifiedSlot(image, inode.u);
  into.device = slot + 1;
  into.blkAddr = (slot === -1 ? inode.u : inode.u - image.devices[slot]!.mappedBlkAddr) + block;
  requireInside(image, inode, into.device, into.blkAddr, into.blocks);
}

function findChunks(image: Image, inode: ErofsInode, block: number, end: number, into: BlockRun): void {
  const format = chunkFormat(inode);
  const chunkBlocks = 2 ** (format & CHUNK_FORMAT_BLKBITS_MASK);
  const isIndexed = (format & CHUNK_FORMAT_INDEXES) !== 0;
  const unit = isIndexed ? ChunkIndex.size : BLOCK_MAP_ENTRY_SIZE;
  const array = Math.ceil(inode.tailOffset / unit) * unit;
  into.blocks = 0;
  for (let at = block; at < end; ) {
    const chunk = Math.floor(at / chunkBlocks);
    const offset = array + chunk * unit;
    const page = image.pages.at(offset, unit);
    const entry = offset - page.start;
    let addr = page.dv.getUint32(isIndexed ? entry + ChunkIndex.at.blkAddr : entry, true);
    let device = isIndexed
      ? page.dv.getUint16(entry + ChunkIndex.at.deviceId, true) & image.deviceIdMask
      : PRIMARY_DEVICE;
    const within = at - chunk * chunkBlocks;
    if (addr === NULL_ADDR) {
      device = HOLE;
      addr = 0;
    } else {
      if (device === PRIMARY_DEVICE) {
        device = unifiedSlot(image, addr) + 1;
        if (device !== PRIMARY_DEVICE) addr -= image.devices[device - 1]!.mappedBlkAddr;
      }
      addr += within;
    }
    if (into.blocks === 0) {
      into.device = device;
      into.blkAddr = addr;
    } else if (device !== into.device || (device !== HOLE && addr !== into.blkAddr + into.blocks)) break;
    const next = Math.min(end, (chunk + 1) * chunkBlocks);
    into.blocks += next - at;
    at = next;
  }
  if (into.device !== HOLE) requireInside(image, inode, into.device, into.blkAddr, into.blocks);
}
