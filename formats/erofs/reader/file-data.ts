import { type ByteSource, escapeBytes, FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE, HOLE, S_IFREG } from "../../tree/index.ts";
import { type ErofsExtent, mapExtents, PRIMARY_DEVICE } from "./extents.ts";
import { inlineTail } from "./flat.ts";
import type { Image } from "./image.ts";
import type { ErofsInode } from "./inode.ts";

/** Largest piece given out, in bytes. */
const PIECE_BYTES = 1024 * 1024;
const ZEROS = new Uint8Array(PIECE_BYTES);

/**
 * A range of a regular file's data in order, in pieces of at most 1 MiB (do not write to them; holes are zeros). The range
 * ends with the file.
 *
 * @param devices The blobs in the order of the device table. A blob left out is looked for in the image itself, at its
 *   unified address, as in a flattened image.
 * @throws FormatError
 */
export function* fileData(
  image: Image,
  inode: ErofsInode,
  devices: readonly (ByteSource | undefined)[],
  offset: number,
  length: number,
): Generator<Uint8Array, void, undefined> {
  if (inode.type !== S_IFREG)
    throw new FormatError("ERR_BAD_VALUE", "erofs_inode.mode", inode.offset, `nid ${inode.nid} is no regular file`);
  const end = Math.min(inode.size, offset + length);
  const extents: ErofsExtent[] = [];
  mapExtents(image, inode, (device, blkAddr, blocks) => extents.push({ device, blkAddr, blocks }));
  let extentStart = 0;
  for (const extent of extents) {
    const extentEnd = Math.min(inode.size, extentStart + extent.blocks * BLOCK_SIZE);
    const from = Math.max(offset, extentStart);
    const to = Math.min(end, extentEnd);
    if (from < to) yield* extentData(image, devices, extent, from - extentStart, to - from);
    extentStart = extentEnd;
  }
  const tail = inlineTail(image, inode);
  const from = Math.max(offset, inode.size - tail.length);
  if (from < end) yield tail.subarray(from - (inode.size - tail.length), end - (inode.size - tail.length));
}

function* extentData(
  image: Image,
  devices: readonly (ByteSource | undefined)[],
  extent: ErofsExtent,
  offset: number,
  length: number,
): Generator<Uint8Array, void, undefined> {
  if (extent.device === HOLE) {
    for (let left = length; left > 0; left -= PIECE_BYTES) yield ZEROS.subarray(0, Math.min(left, PIECE_BYTES));
    return;
  }
  const { source, startBlock } = locate(image, devices, extent);
  const start = startBlock * BLOCK_SIZE + offset;
  for (let done = 0; done < length; done += PIECE_BYTES)
    yield source.read(start + done, Math.min(length - done, PIECE_BYTES));
}

function locate(
  image: Image,
  devices: readonly (ByteSource | undefined)[],
  extent: ErofsExtent,
): { source: ByteSource; startBlock: number } {
  if (extent.device === PRIMARY_DEVICE) return { source: image.source, startBlock: extent.blkAddr };
  const given = devices[extent.device - 1];
  if (given !== undefined) return { source: given, startBlock: extent.blkAddr };
  const slot = image.devices[extent.device - 1]!;
  const flattened = slot.mappedBlkAddr + extent.blkAddr;
  if (slot.mappedBlkAddr !== 0 && (slot.mappedBlkAddr + slot.blocks) * BLOCK_SIZE <= image.source.size)
    return { source: image.source, startBlock: flattened };
  throw new FormatError(
    "ERR_TRUNCATED",
    "device table",
    0,
    `the data lies on device ${extent.device} (tag ${escapeBytes(slot.tag)}), which was not given`,
  );
}
