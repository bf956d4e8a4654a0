import { FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE, HOLE } from "../../tree/index.ts";
import {
  CHUNK_FORMAT_BLKBITS_MASK,
  CHUNK_FORMAT_INDEXES,
  ChunkIndex,
  DATALAYOUT_CHUNK_BASED,
  DATALAYOUT_FLAT_INLINE,
  InodeCompact,
  NULL_ADDR,
} from "../format.ts";
import type { Image } from "./image.ts";
import { type ErofsInode, refuseCompressed } from "./inode.ts";

/** Device number of the image itself. */
export const PRIMARY_DEVICE = 0;
/** Bytes of an entry in a chunk array without indexes: a block address. */
export const BLOCK_MAP_ENTRY_SIZE = 4;

/** A run of blocks of a file. */
export interface ErofsExtent {
  /** 0 is the image itself, n the n-th slot of the device table; HOLE for a hole. */
  readonly device: number;
  /** First block on the device; 0 for a hole. */
  readonly blkAddr: number;
  /** Length in blocks. */
  readonly blocks: number;
}

/** Takes an extent: device, first block, length in blocks, as in ErofsExtent. */
export type ExtentSink = (device: number, blkAddr: number, blocks: number) => void;

/**
 * Gives a regular file's data to `sink` as extents: runs that lie contiguous are one, unified addresses are resolved to
 * their device, and each extent lies inside its device. Covers ceil(size / 4096) blocks; with FLAT_INLINE one less, see
 * inlineTail.
 *
 * @throws FormatError
 */
export function mapExtents(image: Image, inode: ErofsInode, sink: ExtentSink): void {
  if (inode.size === 0) return;
  const blocks = Math.ceil(inode.size / BLOCK_SIZE);
  if (inode.dataLayout === DATALAYOUT_CHUNK_BASED) {
    mapChunks(image, inode, blocks, sink);
    return;
  }
  refuseCompressed(inode);
  const flatBlocks = inode.dataLayout === DATALAYOUT_FLAT_INLINE ? blocks - 1 : blocks;
  if (flatBlocks === 0) return;
  if (inode.u === NULL_ADDR) sink(HOLE, 0, flatBlocks);
  else {
    const slot = unifiedSlot(image, inode.u);
    const addr = slot === -1 ? inode.u : inode.u - image.devices[slot]!.mappedBlkAddr;
    requireInside(image, inode, slot + 1, addr, flatBlocks);
    sink(slot + 1, addr, flatBlocks);
  }
}

/** Byte offset and length of an inode's chunk array; null for other layouts. @throws FormatError */
export function chunkArray(image: Image, inode: ErofsInode): { offset: number; bytes: number } | null {
  if (inode.dataLayout !== DATALAYOUT_CHUNK_BASED) return null;
  const unit = (inode.u & CHUNK_FORMAT_INDEXES) !== 0 ? ChunkIndex.size : BLOCK_MAP_ENTRY_SIZE;
  const offset = Math.ceil(inode.tailOffset / unit) * unit;
  const chunkBlocks = 2 ** (inode.u & CHUNK_FORMAT_BLKBITS_MASK);
  const bytes = Math.ceil(Math.ceil(inode.size / BLOCK_SIZE) / chunkBlocks) * unit;
  if (offset + bytes > image.pages.size)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "chunk array",
      offset,
      `a file of ${inode.size} bytes in chunks of ${chunkBlocks} blocks needs ${bytes} bytes, ` +
        `the image has ${Math.max(0, image.pages.size - offset)} left`,
    );
  return { offset, bytes };
}

/** The chunk format of a CHUNK_BASED inode. @throws FormatError for bits that are not known */
export function chunkFormat(inode: ErofsInode): number {
  const format = inode.u & 0xffff;
  if ((format & ~(CHUNK_FORMAT_BLKBITS_MASK | CHUNK_FORMAT_INDEXES)) !== 0)
    throw new FormatError(
      "ERR_UNSUPPORTED",
      "erofs_inode_chunk_info.format",
      inode.offset + InodeCompact.at.u,
      `found 0x${format.toString(16)}, bits above 0x3f are not known`,
    );
  return format;
}

function mapChunks(image: Image, inode: ErofsInode, blocks: number, sink: ExtentSink): void {
  const format = chunkFormat(inode);
  const chunkBlocks = 2 ** (format & CHUNK_FORMAT_BLKBITS_MASK);
  const indexed = (format & CHUNK_FORMAT_INDEXES) !== 0;
  const { offset, bytes } = chunkArray(image, inode)!;
  const page = image.pages.at(offset, bytes);
  let at = offset - page.start;
  let runDevice = HOLE;
  let runAddr = 0;
  let runBlocks = 0;
  for (let left = blocks; left > 0; left -= chunkBlocks, at += indexed ? ChunkIndex.size : BLOCK_MAP_ENTRY_SIZE) {
    let addr = page.dv.getUint32(indexed ? at + ChunkIndex.at.blkAddr : at, true);
    let device = indexed ? page.dv.getUint16(at + ChunkIndex.at.deviceId, true) & image.deviceIdMask : PRIMARY_DEVICE;
    if (addr === NULL_ADDR) device = HOLE;
    else if (device === PRIMARY_DEVICE) {
      device = unifiedSlot(image, addr) + 1;
      if (device !== PRIMARY_DEVICE) addr -= image.devices[device - 1]!.mappedBlkAddr;
    }
    const length = Math.min(chunkBlocks, left);
    if (runBlocks > 0 && device === runDevice && (device === HOLE || addr === runAddr + runBlocks)) {
      runBlocks += length;
      continue;
    }
    if (runBlocks > 0) flush(image, inode, runDevice, runAddr, runBlocks, sink);
    runDevice = device;
    runAddr = addr;
    runBlocks = length;
  }
  flush(image, inode, runDevice, runAddr, runBlocks, sink);
}

function flush(image: Image, inode: ErofsInode, device: number, addr: number, blocks: number, sink: ExtentSink): void {
  if (device === HOLE) sink(HOLE, 0, blocks);
  else {
    requireInside(image, inode, device, addr, blocks);
    sink(device, addr, blocks);
  }
}

/** The device table slot in whose unified range a block of device 0 lies, or -1. */
export function unifiedSlot(image: Image, blkAddr: number): number {
  const ranges = image.unified;
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle]!;
    if (blkAddr < range.start) high = middle - 1;
    else if (blkAddr >= range.end) low = middle + 1;
    else return range.slot;
  }
  return -1;
}

/** Blocks of a device; a slot that leaves its size open (mkfs.erofs 1.5) ends where block addresses end. */
function deviceBlocks(image: Image, slot: number): number | undefined {
  const blocks = image.devices[slot]?.blocks;
  return blocks === 0 ? NULL_ADDR : blocks;
}

export function requireInside(image: Image, inode: ErofsInode, device: number, blkAddr: number, blocks: number): void {
  const limit = device === PRIMARY_DEVICE ? image.sourceBlocks : deviceBlocks(image, device - 1);
  if (limit !== undefined && blkAddr + blocks <= limit) return;
  const has = limit === undefined ? `there are ${image.devices.length} devices` : `the device has ${limit}`;
  throw new FormatError(
    "ERR_BAD_VALUE",
    "extent",
    inode.offset,
    `nid ${inode.nid} needs ${blocks} blocks from block ${blkAddr} of device ${device}, ${has}`,
  );
}
