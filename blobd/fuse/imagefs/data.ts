import { getU53 } from "../../../formats/bytes/index.ts";
import { type ErofsInode, findRun, inlineTailBytes } from "../../../formats/erofs/index.ts";
import { LseekIn, ReadIn } from "../../../formats/fuse/index.ts";
import { BLOCK_SIZE, HOLE, S_IFDIR, S_IFREG } from "../../../formats/tree/index.ts";
import { errno, fileCalls } from "../../sys/index.ts";
import type { IoVector } from "../io-vector.ts";
import { replyOffset } from "../replies.ts";
import { type FuseRequest, IN_ARGS } from "../request.ts";
import { EINVAL, EIO, EISDIR, ENXIO, EUCLEAN } from "./linux.ts";
import { type ImageVolume, statusOfImage } from "./volume.ts";

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** READ: from the blobs straight into the asker's memory. */
export function read(volume: ImageVolume, request: FuseRequest): number {
  const offset = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
  const wanted = request.in.getUint32(IN_ARGS + ReadIn.at.size, true);
  try {
    const inode = volume.load(request.nodeId);
    if (inode.type !== S_IFREG) return inode.type === S_IFDIR ? -EISDIR : -EINVAL;
    const bytes = Math.min(wanted, request.room.bytes, Math.max(0, inode.size - offset));
    const status = readRange(volume, inode, offset, bytes, request.room);
    if (status === ABSENT) return volume.absent!.park(request);
    if (status === 0) request.roomBytes = bytes;
    return status;
  } catch (error) {
    volume.absent?.forget();
    return statusOfImage(error);
  }
}

/** Reads from a mapped file into memory: FileSystem.readMapped. Behind its end there are zeros. */
export function readMapped(
  volume: ImageVolume,
  nodeId: number,
  offset: number,
  address: number,
  bytes: number,
): number {
  try {
    const inode = volume.load(nodeId);
    if (inode.type !== S_IFREG) return -EINVAL;
    const inFile = Math.min(bytes, Math.max(0, inode.size - offset));
    const status = readTo(volume, inode, offset, address, inFile);
    // It was mapped, so it was there.
    if (status === ABSENT) {
      volume.absent!.forget();
      return -EIO;
    }
    return status < 0 || inFile === bytes ? status : readZeros(volume, address + inFile, bytes - inFile);
  } catch (error) {
    return statusOfImage(error);
  }
}

/** Answer of what reads: some of it is not there, and is wanted now (AbsentData). No error number. */
export const ABSENT = -10_000;

/** Reads a part of a file that it has into memory: ABSENT when that is not there. */
export function readTo(volume: ImageVolume, inode: ErofsInode, offset: number, address: number, bytes: number): number {
  const { target } = volume;
  target.clear();
  target.add(address, bytes);
  return readRange(volume, inode, offset, bytes, target);
}

function readZeros({ shared, target }: ImageVolume, address: number, bytes: number): number {
  target.clear();
  target.add(address, bytes);
  return readExactly(shared.zeroFd, target, 0);
}

/**
 * Reads `bytes` bytes that the file has, piece by piece as they lie.
 * @returns 0, ABSENT, or a negative error number: a blob that is shorter than the image says is EIO, not zeros
 */
function readRange(volume: ImageVolume, inode: ErofsInode, offset: number, bytes: number, room: IoVector): number {
  const { shared, run, part, absent } = volume;
  let isAbsent = false;
  for (let done = 0; done < bytes; ) {
    const at = offset + done;
    const block = Math.floor(at / BLOCK_SIZE);
    const within = at - block * BLOCK_SIZE;
    findRun(volume.reader.image, inode, block, Math.ceil((within + bytes - done) / BLOCK_SIZE), run);
    let fd = shared.zeroFd;
    let from = 0;
    let length = Math.min(bytes - done, run.blocks * BLOCK_SIZE - within);
    if (run.blocks === 0) {
      // It lies behind the inode; findRun says so of the last block only.
      const tail = inlineTailBytes(inode);
      length = bytes - done;
      if (within + length > tail) return -EUCLEAN;
      fd = shared.fds[0]!;
      from = inode.tailOffset + within;
    } else if (run.device !== HOLE) {
      const isFlat = shared.fds.length === 1;
      const slot = run.device;
      fd = shared.fds[isFlat ? 0 : slot]!;
      const start = isFlat && slot > 0 ? volume.reader.devices[slot - 1]!.mappedBlkAddr : 0;
      from = (start + run.blkAddr) * BLOCK_SIZE + within;
      if (absent !== undefined && !absent.isThere(isFlat ? 0 : slot, from, length)) isAbsent = true;
    }
    // What else is not there is found out at once, and comes together.
    if (isAbsent) {
      done += length;
      continue;
    }
    if (done === 0 && length === bytes) {
      room.truncate(bytes);
      return readExactly(fd, room, from);
    }
    part.slice(room, done, length);
    const status = readExactly(fd, part, from);
    if (status < 0) return status;
    done += length;
  }
  return isAbsent ? ABSENT : 0;
}

/** Fills all of `room` from a file. */
function readExactly(fd: number, room: IoVector, offset: number): number {
  if (room.bytes === 0) return 0;
  const calls = fileCalls();
  const count =
    room.count === 1
      ? calls.pread(fd, room.addressOf(0), room.bytes, offset)
      : calls.preadv(fd, room.address, room.count, offset);
  if (count < 0) return -errno();
  return count === room.bytes ? 0 : readRest(fd, room, offset, count);
}

/** A read that was cut short, by a signal or a page that had to be fetched: what is left. */
function readRest(fd: number, room: IoVector, offset: number, read: number): number {
  const calls = fileCalls();
  let skip = read;
  let at = offset + read;
  if (read === 0) return -EIO;
  for (let piece = 0; piece < room.count; piece++) {
    const length = room.bytesOf(piece);
    for (let done = Math.min(skip, length); done < length; ) {
      const count = calls.pread(fd, room.addressOf(piece) + done, length - done, at);
      if (count <= 0) return count < 0 ? -errno() : -EIO;
      done += count;
      at += count;
    }
    skip = Math.max(0, skip - length);
  }
  return 0;
}

/** LSEEK: where data and holes are, so that programs that copy files leave the holes out. */
export function lseek(volume: ImageVolume, request: FuseRequest): number {
  const offset = getU53(request.in, IN_ARGS + LseekIn.at.offset, "fuse_lseek_in.offset");
  const whence = request.in.getUint32(IN_ARGS + LseekIn.at.whence, true);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
  try {
    const inode = volume.load(request.nodeId);
    if (inode.type !== S_IFREG) return -EINVAL;
    if (offset >= inode.size) return -ENXIO;
    const blocks = Math.ceil(inode.size / BLOCK_SIZE);
    let block = Math.floor(offset / BLOCK_SIZE);
    for (let step = 0; step < MAX_SEEK_STEPS && block < blocks; step++) {
      findRun(volume.reader.image, inode, block, SEEK_BLOCKS, volume.run);
      const isHole = volume.run.device === HOLE && volume.run.blocks > 0;
      if (isHole === (whence === SEEK_HOLE)) return replyOffset(request, Math.max(offset, block * BLOCK_SIZE));
      block += Math.max(1, volume.run.blocks);
    }
    if (whence === SEEK_HOLE) return replyOffset(request, inode.size);
    return block < blocks ? replyOffset(request, block * BLOCK_SIZE) : -ENXIO;
  } catch (error) {
    return statusOfImage(error);
  }
}

/** Blocks that are looked at at once, and how often: 256 GiB. What lies behind is said to be data, which is never wrong. */
const SEEK_BLOCKS = 1 << 16;
const MAX_SEEK_STEPS = 1024;
