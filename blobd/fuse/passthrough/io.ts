import { getU53 } from "../../../formats/bytes/index.ts";
import {
  CopyFileRangeIn,
  CopyFileRangeOut,
  FallocateIn,
  LseekIn,
  LseekOut,
  ReadIn,
  WriteFlag,
  WriteIn,
  WriteOut,
} from "../../../formats/fuse/index.ts";
import { allocAligned, errno } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { FileKind } from "./files.ts";
import { EBADF, EINVAL, ENOSYS, EROFS, ESTALE, O_APPEND, S_IFREG } from "./linux.ts";
import { put64, room } from "./reply.ts";
import { File } from "./state.ts";
import type { Volume } from "./volume.ts";

/** READ: straight from the file into the asker's memory. */
export function read(volume: Volume, request: FuseRequest): number {
  const { in: dv, room: to } = request;
  const { files } = volume;
  const fh = getU53(dv, IN_ARGS + ReadIn.at.fh, "fuse_read_in.fh");
  const offset = getU53(dv, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
  const size = dv.getUint32(IN_ARGS + ReadIn.at.size, true);
  if (to.bytes > size) to.truncate(size);
  if (fh === 0 && volume.settings.noOpen) return readUnopened(volume, request, offset);
  const file = files.pin(fh, FileKind.FILE, request.nodeId);
  if (file === 0) return -EBADF;
  const status = readFrom(volume, request, files.fdOf(file), offset);
  files.unpin(file);
  return status;
}

function readFrom({ calls }: Volume, request: FuseRequest, fd: number, offset: number): number {
  const { room: to } = request;
  const count =
    to.count === 1
      ? calls.pread(fd, to.addressOf(0), to.bytes, offset)
      : calls.preadv(fd, to.address, to.count, offset);
  if (count < 0) return -errno();
  request.roomBytes = count;
  return 0;
}

/** The other side has not opened the file, as it was told. */
function readUnopened(volume: Volume, request: FuseRequest, offset: number): number {
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.nodes.typeOf(slot) === S_IFREG ? volume.data.of(slot, request.nodeId) : -EINVAL;
  const status = fd < 0 ? fd : readFrom(volume, request, fd, offset);
  volume.nodes.unpin(slot);
  return status;
}

/** WRITE: straight from the asker's memory into the file. */
export function write(volume: Volume, request: FuseRequest): number {
  const bad = room(request, WriteOut.size);
  if (bad !== 0) return bad;
  const { in: dv, data } = request;
  const { files, calls, caller } = volume;
  const fh = getU53(dv, IN_ARGS + WriteIn.at.fh, "fuse_write_in.fh");
  const offset = getU53(dv, IN_ARGS + WriteIn.at.offset, "fuse_write_in.offset");
  const file = files.pin(fh, FileKind.FILE, request.nodeId);
  if (file === 0) return -EBADF;
  const fd = files.fdOf(file);
  let count = appendedBefore(volume, request, file);
  let status = 0;
  if (count < 0) {
    const isKilling = (dv.getUint32(IN_ARGS + WriteIn.at.writeFlags, true) & WriteFlag.KILL_SUIDGID) !== 0;
    if (isKilling) caller.dropFsetid();
    count =
      data.count === 1
        ? calls.pwrite(fd, data.addressOf(0), data.bytes, offset)
        : calls.pwritev(fd, data.address, data.count, offset);
    if (count < 0) status = -errno();
    if (isKilling) caller.restore();
  }
  if (status === 0 && volume.window !== undefined) {
    status = growMapping(volume, request.nodeId, fd);
    if (status < 0 && isAppending(volume, file)) volume.state.setAppended(request.in, count);
  }
  files.unpin(file);
  if (status < 0) return status;
  request.out.setUint32(OUT_ARGS + WriteOut.at.size, count, true);
  request.out.setUint32(OUT_ARGS + WriteOut.at.padding, 0, true);
  request.outputBytes = WriteOut.size;
  return 0;
}

function isAppending({ state, files }: Volume, file: number): boolean {
  return (state.words[files.at(file) + File.flags]! & O_APPEND) !== 0;
}

/**
 * A write that was carried out, but whose mapping could not follow yet, comes again: nothing must be appended twice.
 * @returns how much it wrote then; -1 when it has not been here
 */
function appendedBefore(volume: Volume, request: FuseRequest, file: number): number {
  if (volume.window === undefined || !isAppending(volume, file)) return -1;
  return volume.state.takeAppended(request.in);
}

/** A file may have become longer: its mapping follows, before the other side looks there. */
function growMapping(volume: Volume, nodeId: number, fd: number): number {
  const slot = volume.nodes.pin(nodeId);
  if (slot === 0) return 0;
  let status = 0;
  if (volume.nodes.isMapped(slot) && volume.statOf(fd) === 0) status = volume.window!.grow(nodeId, volume.stat.size);
  volume.nodes.unpin(slot);
  return status;
}

// Linux include/uapi/linux/falloc.h.
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 0x10;
/** Modes that Linux sends; COLLAPSE_RANGE and INSERT_RANGE it refuses itself. They would move what is mapped. */
const FALLOC_MODES = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

/** FALLOCATE. */
export function fallocate(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const { in: dv } = request;
  const { files, calls } = volume;
  const mode = dv.getUint32(IN_ARGS + FallocateIn.at.mode, true);
  const offset = getU53(dv, IN_ARGS + FallocateIn.at.offset, "fuse_fallocate_in.offset");
  const length = getU53(dv, IN_ARGS + FallocateIn.at.length, "fuse_fallocate_in.length");
  if ((mode & ~FALLOC_MODES) !== 0) return -EINVAL;
  const file = files.pin(
    getU53(dv, IN_ARGS + FallocateIn.at.fh, "fuse_fallocate_in.fh"),
    FileKind.FILE,
    request.nodeId,
  );
  if (file === 0) return -EBADF;
  const fd = files.fdOf(file);
  let status = calls.fallocate(fd, mode, offset, length) < 0 ? -errno() : 0;
  if (status === 0 && volume.window !== undefined) status = growMapping(volume, request.nodeId, fd);
  files.unpin(file);
  return status;
}

/** LSEEK: where data or a hole starts. */
export function lseek(volume: Volume, request: FuseRequest): number {
  const bad = room(request, LseekOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const { files, calls } = volume;
  const fh = getU53(dv, IN_ARGS + LseekIn.at.fh, "fuse_lseek_in.fh");
  // Without an open file there is nothing to seek in; the other side then takes a file as all data.
  if (fh === 0 && volume.settings.noOpen) return -ENOSYS;
  const file = files.pin(fh, FileKind.FILE, request.nodeId);
  if (file === 0) return -EBADF;
  const offset = getU53(dv, IN_ARGS + LseekIn.at.offset, "fuse_lseek_in.offset");
  const found = calls.lseek(files.fdOf(file), offset, dv.getUint32(IN_ARGS + LseekIn.at.whence, true) | 0);
  const status = found < 0 ? -errno() : 0;
  files.unpin(file);
  if (status < 0) return status;
  put64(request.out, OUT_ARGS + LseekOut.at.offset, found);
  request.outputBytes = LseekOut.size;
  return 0;
}

/** Most bytes that are copied for one request: its thread does nothing else meanwhile. */
const MAX_COPY_BYTES = 256 << 20;
/** A thread's two offsets for copy_file_range(2). */
let offsets: { readonly address: number; readonly dv: DataView; readonly bytes: Buffer } | null = null;

/** COPY_FILE_RANGE and COPY_FILE_RANGE_64: their replies differ in the width of a number that has 32 bits here. */
export function copyFileRange(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = room(request, CopyFileRangeOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const { files } = volume;
  const nodeOut = getU53(dv, IN_ARGS + CopyFileRangeIn.at.nodeidOut, "fuse_copy_file_range_in.nodeid_out");
  const fhIn = getU53(dv, IN_ARGS + CopyFileRangeIn.at.fhIn, "fuse_copy_file_range_in.fh_in");
  const fhOut = getU53(dv, IN_ARGS + CopyFileRangeIn.at.fhOut, "fuse_copy_file_range_in.fh_out");
  const from = files.pin(fhIn, FileKind.FILE, request.nodeId);
  const to = files.pin(fhOut, FileKind.FILE, nodeOut);
  let status = -EBADF;
  try {
    if (from !== 0 && to !== 0) status = copy(volume, request, files.fdOf(from), files.fdOf(to));
    if (status === 0 && volume.window !== undefined) status = growMapping(volume, nodeOut, files.fdOf(to));
  } finally {
    if (from !== 0) files.unpin(from);
    if (to !== 0) files.unpin(to);
  }
  return status;
}

function copy(volume: Volume, request: FuseRequest, from: number, to: number): number {
  const { in: dv } = request;
  if (offsets === null) {
    const { address, bytes } = allocAligned(16);
    offsets = { address, bytes, dv: new DataView(bytes.buffer, bytes.byteOffset, 16) };
  }
  put64(offsets.dv, 0, getU53(dv, IN_ARGS + CopyFileRangeIn.at.offIn, "fuse_copy_file_range_in.off_in"));
  put64(offsets.dv, 8, getU53(dv, IN_ARGS + CopyFileRangeIn.at.offOut, "fuse_copy_file_range_in.off_out"));
  const length = Math.min(MAX_COPY_BYTES, getU53(dv, IN_ARGS + CopyFileRangeIn.at.len, "fuse_copy_file_range_in.len"));
  const count = volume.calls.copyFileRange(from, offsets.address, to, offsets.address + 8, length, 0);
  if (count < 0) return -errno();
  put64(request.out, OUT_ARGS + CopyFileRangeOut.at.bytesCopied, count);
  request.outputBytes = CopyFileRangeOut.size;
  return 0;
}
