import { closeSync } from "node:fs";
import { type ErofsInode, findRun } from "../../../formats/erofs/index.ts";
import { BLOCK_SIZE, HOLE, S_IFREG } from "../../../formats/tree/index.ts";
import { mapShared, memfd, PAGE_SIZE, unmapShared } from "../../sys/index.ts";
import { decodeSetup, type RangeRequest } from "../dax-requests.ts";
import { RANGE_BYTES } from "../dax-window.ts";
import type { FuseRequest } from "../request.ts";
import { ABSENT, readTo } from "./data.ts";
import { EINVAL, ENODEV } from "./linux.ts";
import { type ImageVolume, statusOfImage } from "./volume.ts";

const asked: RangeRequest = { fileOffset: 0, windowOffset: 0 };

/**
 * SETUPMAPPING: a range of a file is mapped as it lies in the blobs, a piece a run of blocks, holes from a file of zeros. Most
 * files lie in a row: one piece. What lies in the metadata, and a range in more pieces than are worth a mapping each, is
 * copied into memory of its own, which goes when the guest gives the range up.
 */
export function setupMapping(volume: ImageVolume, request: FuseRequest): number {
  const { window, pieces } = volume;
  if (window === undefined) return -ENODEV;
  if (!decodeSetup(request, window, asked)) return -EINVAL;
  const { fileOffset, windowOffset } = asked;
  try {
    const inode = volume.load(request.nodeId);
    if (inode.type !== S_IFREG) return -EINVAL;
    const bytes = Math.max(0, Math.min(RANGE_BYTES, inode.size - fileOffset));
    const isInPieces = collect(volume, inode, fileOffset, bytes);
    if (volume.absent?.isWanted) return volume.absent.park(request);
    if (isInPieces) return window.mapPieces(request.nodeId, pieces, fileOffset, windowOffset);
    const fd = copyRange(volume, inode, fileOffset, bytes);
    if (fd === ABSENT) return volume.absent!.park(request);
    if (fd < 0) return fd;
    pieces.clear();
    pieces.add(fd, 0, Math.ceil(bytes / PAGE_SIZE));
    const status = window.mapPieces(request.nodeId, pieces, fileOffset, windowOffset);
    closeSync(fd);
    return status;
  } catch (error) {
    volume.absent?.forget();
    return statusOfImage(error);
  }
}

/** Collects a range's pieces. @returns false when it has to be copied */
function collect(volume: ImageVolume, inode: ErofsInode, fileOffset: number, bytes: number): boolean {
  const { shared, run, pieces, reader, absent } = volume;
  pieces.clear();
  const first = fileOffset / BLOCK_SIZE;
  const blocks = Math.ceil(bytes / BLOCK_SIZE);
  for (let block = 0; block < blocks; block += run.blocks) {
    findRun(reader.image, inode, first + block, blocks - block, run);
    if (run.blocks === 0) return false;
    let fd = shared.zeroRangeFd;
    let offset = 0;
    if (run.device !== HOLE) {
      const isFlat = shared.mapFds.length === 1;
      fd = shared.mapFds[isFlat ? 0 : run.device]!;
      const start = isFlat && run.device > 0 ? reader.devices[run.device - 1]!.mappedBlkAddr : 0;
      offset = (start + run.blkAddr) * BLOCK_SIZE;
      absent?.isThere(isFlat ? 0 : run.device, offset, run.blocks * BLOCK_SIZE);
    }
    if (!pieces.add(fd, offset, run.blocks)) return false;
  }
  return true;
}

/** @returns a file in memory that holds the range, ABSENT, or a negative error number */
function copyRange(volume: ImageVolume, inode: ErofsInode, fileOffset: number, bytes: number): number {
  const length = Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
  const fd = memfd("blobd-range", length);
  let status = 0;
  try {
    const address = mapShared(fd, 0, length);
    try {
      status = readTo(volume, inode, fileOffset, address, bytes);
    } finally {
      unmapShared(address, length);
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  if (status === 0) return fd;
  closeSync(fd);
  return status;
}
