import { getI53, getU53 } from "../../../formats/bytes/index.ts";
import {
  AttrOut,
  GETATTR_FH,
  GetattrIn,
  SetattrFlag,
  SetattrIn,
  StatxIn,
  StatxOut,
} from "../../../formats/fuse/index.ts";
import { errno } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { FileKind } from "./files.ts";
import { toGuest, toHost } from "./id-map.ts";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  EBADF,
  EINVAL,
  EPERM,
  EROFS,
  ESTALE,
  O_WRONLY,
  S_IFLNK,
  S_IFREG,
  Statx,
} from "./linux.ts";
import { put64, putAttr, replyAttr, room } from "./reply.ts";
import { resizing } from "./resize.ts";
import type { Volume } from "./volume.ts";

/** The attributes of a pinned node into `volume.stat`, by an open file where the request names one. */
function statNode(volume: Volume, slot: number, nodeId: number, fh: number): number {
  const { files } = volume;
  const named = fh === 0 ? 0 : files.pin(fh, FileKind.FILE, nodeId) || files.pin(fh, FileKind.DIRECTORY, nodeId);
  const file = named || volume.pinNewest(nodeId);
  if (file !== 0) {
    const status = volume.statOf(files.fdOf(file));
    files.unpin(file);
    return status;
  }
  const fd = volume.nodes.fdOf(slot);
  return fd < 0 ? fd : volume.statOf(fd);
}

/** GETATTR. */
export function getattr(volume: Volume, request: FuseRequest): number {
  const bad = room(request, AttrOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const hasFh = (dv.getUint32(IN_ARGS + GetattrIn.at.getattrFlags, true) & GETATTR_FH) !== 0;
  const fh = hasFh ? getU53(dv, IN_ARGS + GetattrIn.at.fh, "fuse_getattr_in.fh") : 0;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  let status = statNode(volume, slot, request.nodeId, fh);
  if (status === 0) status = replyAttr(volume, request, slot);
  volume.nodes.unpin(slot);
  return status;
}

/** STATX: what GETATTR answers, and when the file was made. */
export function statx(volume: Volume, request: FuseRequest): number {
  const bad = room(request, StatxOut.size);
  if (bad !== 0) return bad;
  const { in: dv, out } = request;
  const hasFh = (dv.getUint32(IN_ARGS + StatxIn.at.getattrFlags, true) & GETATTR_FH) !== 0;
  const fh = hasFh ? getU53(dv, IN_ARGS + StatxIn.at.fh, "fuse_statx_in.fh") : 0;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  let status = statNode(volume, slot, request.nodeId, fh);
  if (status === 0) {
    request.output.bytes.fill(0, OUT_ARGS, OUT_ARGS + StatxOut.size);
    // Here only for what it does besides: a mapping is extended before the size is told.
    status = putAttr(volume, out, OUT_ARGS + StatxOut.at.stat, slot);
    putStatx(volume, out, OUT_ARGS + StatxOut.at.stat);
    put64(out, OUT_ARGS + StatxOut.at.attrValid, volume.settings.attrSeconds);
    out.setUint32(OUT_ARGS + StatxOut.at.attrValidNsec, volume.settings.attrNanos, true);
    request.outputBytes = StatxOut.size;
  }
  volume.nodes.unpin(slot);
  return status;
}

/** STATX_BASIC_STATS and STATX_BTIME: the fields of `struct fuse_statx` that are filled. */
const SHOWN_MASK = 0xfff;

/** `struct fuse_statx` is `struct statx` up to its device numbers. */
function putStatx(volume: Volume, out: DataView, at: number): void {
  const { dv } = volume.stat;
  for (let word = 0; word < Statx.mntId; word += 4) out.setUint32(at + word, dv.getUint32(word, true), true);
  out.setUint32(at + Statx.mask, dv.getUint32(Statx.mask, true) & SHOWN_MASK, true);
  out.setUint32(at + Statx.uid, toGuest(volume.settings.uidMap, dv.getUint32(Statx.uid, true)), true);
  out.setUint32(at + Statx.gid, toGuest(volume.settings.gidMap, dv.getUint32(Statx.gid, true)), true);
  // The device's number says nothing on another machine.
  put64(out, at + Statx.devMajor, 0);
}

const TIMES = SetattrFlag.ATIME | SetattrFlag.MTIME | SetattrFlag.ATIME_NOW | SetattrFlag.MTIME_NOW;
const OWNERS = SetattrFlag.UID | SetattrFlag.GID;
/** A user or group ID that stays as it is. */
const UNCHANGED = 0xffff_ffff;
/** Nanoseconds that mean "now" and "as it is". utimensat(2). */
const UTIME_NOW = 0x3fff_ffff;
const UTIME_OMIT = 0x3fff_fffe;
const NANOS = 1_000_000_000;

/** SETATTR. */
export function setattr(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = room(request, AttrOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const valid = dv.getUint32(IN_ARGS + SetattrIn.at.valid, true);
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const { files } = volume;
  let file = 0;
  if ((valid & SetattrFlag.FH) !== 0)
    file = files.pin(getU53(dv, IN_ARGS + SetattrIn.at.fh, "fuse_setattr_in.fh"), FileKind.FILE, request.nodeId);
  const newest = file === 0 ? volume.pinNewest(request.nodeId) : 0;
  let status = 0;
  try {
    status = change(volume, request, slot, file, newest, valid);
  } finally {
    if (file !== 0) files.unpin(file);
    if (newest !== 0) files.unpin(newest);
    volume.nodes.unpin(slot);
  }
  return status;
}

/**
 * @param file the open file that the request names, pinned, or 0
 * @param newest an open file of the node that it does not name, and which may be open for reading only; or 0
 */
function change(
  volume: Volume,
  request: FuseRequest,
  slot: number,
  file: number,
  newest: number,
  valid: number,
): number {
  const { calls, nodes, files, proc } = volume;
  const { in: dv } = request;
  const open = file || newest;
  const fd = open !== 0 ? files.fdOf(open) : nodes.fdOf(slot);
  if (fd < 0) return fd;
  let status = 0;
  // The owner first: changing it takes set-user-ID bits away that the mode then gives back.
  if ((valid & OWNERS) !== 0) status = changeOwner(volume, dv, fd, valid);
  if (status === 0 && (valid & SetattrFlag.MODE) !== 0) {
    const mode = dv.getUint32(IN_ARGS + SetattrIn.at.mode, true) & 0o7777;
    if (nodes.typeOf(slot) === S_IFLNK) status = -EINVAL;
    // A node's own descriptor (O_PATH) can only be named.
    else if ((open !== 0 ? calls.fchmod(fd, mode) : calls.fchmodat(proc.fd, proc.name(fd), mode, 0)) < 0)
      status = -errno();
  }
  if (status === 0 && (valid & SetattrFlag.SIZE) !== 0) {
    const size = getU53(dv, IN_ARGS + SetattrIn.at.size, "fuse_setattr_in.size");
    if ((valid & SetattrFlag.KILL_SUIDGID) !== 0) volume.caller.dropFsetid();
    status = resize(volume, slot, file, size);
    if ((valid & SetattrFlag.KILL_SUIDGID) !== 0) volume.caller.restore();
  }
  if (status === 0 && (valid & TIMES) !== 0) status = changeTimes(volume, dv, fd, valid);
  if (status === 0) status = volume.statOf(fd);
  return status === 0 ? replyAttr(volume, request, slot) : status;
}

function changeOwner(volume: Volume, dv: DataView, fd: number, valid: number): number {
  const { settings } = volume;
  let uid = UNCHANGED;
  let gid = UNCHANGED;
  if ((valid & SetattrFlag.UID) !== 0) uid = toHost(settings.uidMap, dv.getUint32(IN_ARGS + SetattrIn.at.uid, true));
  if ((valid & SetattrFlag.GID) !== 0) gid = toHost(settings.gidMap, dv.getUint32(IN_ARGS + SetattrIn.at.gid, true));
  if (uid < 0 || gid < 0) return -EPERM;
  const flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  return volume.calls.fchownat(fd, volume.proc.empty, uid, gid, flags) < 0 ? -errno() : 0;
}

function changeTimes(volume: Volume, dv: DataView, fd: number, valid: number): number {
  const { times } = volume;
  putTime(
    times.dv,
    0,
    valid & SetattrFlag.ATIME,
    valid & SetattrFlag.ATIME_NOW,
    dv,
    SetattrIn.at.atime,
    SetattrIn.at.atimensec,
  );
  putTime(
    times.dv,
    16,
    valid & SetattrFlag.MTIME,
    valid & SetattrFlag.MTIME_NOW,
    dv,
    SetattrIn.at.mtime,
    SetattrIn.at.mtimensec,
  );
  return volume.calls.utimensat(fd, volume.proc.empty, times.address, AT_EMPTY_PATH) < 0 ? -errno() : 0;
}

function putTime(
  to: DataView,
  at: number,
  isSet: number,
  isNow: number,
  dv: DataView,
  seconds: number,
  nanos: number,
): void {
  put64(to, at, 0);
  if (isNow !== 0) put64(to, at + 8, UTIME_NOW);
  else if (isSet === 0) put64(to, at + 8, UTIME_OMIT);
  else {
    const time = getI53(dv, IN_ARGS + seconds, "fuse_setattr_in times");
    to.setUint32(at, time >>> 0, true);
    to.setInt32(at + 4, Math.floor(time / 0x1_0000_0000), true);
    // Beyond a second it would be one of the special values.
    put64(to, at + 8, dv.getUint32(IN_ARGS + nanos, true) % NANOS);
  }
}

/**
 * Cuts or extends a pinned file.
 * @param file an open file of it, pinned, or 0
 */
function resize(volume: Volume, slot: number, file: number, size: number): number {
  const { nodes, files, calls } = volume;
  if (nodes.typeOf(slot) !== S_IFREG) return -EINVAL;
  const opened = file === 0 ? volume.open(slot, O_WRONLY) : -1;
  if (file === 0 && opened < 0) return opened;
  const fd = file === 0 ? opened : files.fdOf(file);
  if (fd < 0) return -EBADF;
  const status = resizing(volume, slot, size, () => (calls.ftruncate(fd, size) < 0 ? -errno() : 0));
  if (opened >= 0) calls.close(opened);
  return status;
}
