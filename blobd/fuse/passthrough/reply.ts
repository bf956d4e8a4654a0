import { Attr, AttrFlag, AttrOut, EntryOut } from "../../../formats/fuse/index.ts";
import { makeDevice } from "../../sys/index.ts";
import { type FuseRequest, OUT_ARGS } from "../request.ts";
import { toGuest } from "./id-map.ts";
import { EINVAL, S_IFDIR, S_IFMT, S_IFREG, Statx } from "./linux.ts";
import type { Volume } from "./volume.ts";

/**
 * Writes the attributes in `volume.stat` as `struct fuse_attr` at `at`.
 * @param slot the node they are of
 * @param flags AttrFlag besides DAX
 * @returns 0; a negative error number when its mapping could not follow its size
 */
export function putAttr(volume: Volume, out: DataView, at: number, slot: number, flags = 0): number {
  const { stat, settings } = volume;
  const { dv, mode } = stat;
  copy64(dv, Statx.ino, out, at + Attr.at.ino);
  copy64(dv, Statx.size, out, at + Attr.at.size);
  copy64(dv, Statx.blocks, out, at + Attr.at.blocks);
  copy64(dv, Statx.atime, out, at + Attr.at.atime);
  copy64(dv, Statx.mtime, out, at + Attr.at.mtime);
  copy64(dv, Statx.ctime, out, at + Attr.at.ctime);
  copy32(dv, Statx.atime + 8, out, at + Attr.at.atimensec);
  copy32(dv, Statx.mtime + 8, out, at + Attr.at.mtimensec);
  copy32(dv, Statx.ctime + 8, out, at + Attr.at.ctimensec);
  out.setUint32(at + Attr.at.mode, mode, true);
  copy32(dv, Statx.nlink, out, at + Attr.at.nlink);
  out.setUint32(at + Attr.at.uid, toGuest(settings.uidMap, dv.getUint32(Statx.uid, true)), true);
  out.setUint32(at + Attr.at.gid, toGuest(settings.gidMap, dv.getUint32(Statx.gid, true)), true);
  const major = dv.getUint32(Statx.rdevMajor, true);
  const minor = dv.getUint32(Statx.rdevMinor, true);
  out.setUint32(at + Attr.at.rdev, (major | minor) === 0 ? 0 : makeDevice(major, minor), true);
  copy32(dv, Statx.blksize, out, at + Attr.at.blksize);
  let allFlags = flags;
  let status = 0;
  if ((mode & S_IFMT) === S_IFREG) {
    // The other side may look into a mapping wherever the size allows it, as soon as it knows it.
    if (volume.window !== undefined && volume.nodes.isMapped(slot))
      status = volume.window.grow(volume.nodes.idOf(slot), stat.size);
    if (settings.dax && volume.window !== undefined && stat.size >= settings.daxFromBytes) allFlags |= AttrFlag.DAX;
  }
  out.setUint32(at + Attr.at.flags, allFlags, true);
  return status;
}

function copy64(from: DataView, fromAt: number, to: DataView, toAt: number): void {
  to.setUint32(toAt, from.getUint32(fromAt, true), true);
  to.setUint32(toAt + 4, from.getUint32(fromAt + 4, true), true);
}
function copy32(from: DataView, fromAt: number, to: DataView, toAt: number): void {
  to.setUint32(toAt, from.getUint32(fromAt, true), true);
}

export function put64(out: DataView, at: number, value: number): void {
  out.setUint32(at, value >>> 0, true);
  out.setUint32(at + 4, (value / 0x1_0000_0000) >>> 0, true);
}

/**
 * Writes `struct fuse_entry_out` at `at` for a node that was looked up; its attributes are in `volume.stat`.
 * @param parent the directory's slot
 */
export function putEntry(volume: Volume, out: DataView, at: number, slot: number, parent: number): number {
  const { settings, nodes } = volume;
  put64(out, at + EntryOut.at.nodeid, nodes.idOf(slot));
  put64(out, at + EntryOut.at.generation, 0);
  put64(out, at + EntryOut.at.entryValid, settings.entrySeconds);
  put64(out, at + EntryOut.at.attrValid, settings.attrSeconds);
  out.setUint32(at + EntryOut.at.entryValidNsec, settings.entryNanos, true);
  out.setUint32(at + EntryOut.at.attrValidNsec, settings.attrNanos, true);
  const isSubmount = nodes.deviceOf(slot) !== nodes.deviceOf(parent) && (volume.stat.mode & S_IFMT) === S_IFDIR;
  return putAttr(volume, out, at + EntryOut.at.attr, slot, isSubmount ? AttrFlag.SUBMOUNT : 0);
}

/** Replies with the entry of a node that was looked up in the pinned directory `parent`. */
export function replyEntry(volume: Volume, request: FuseRequest, slot: number, parent: number): number {
  request.outputBytes = EntryOut.size;
  return putEntry(volume, request.out, OUT_ARGS, slot, parent);
}

/** Replies that there is nothing of that name, and for how long. */
export function replyAbsent(volume: Volume, request: FuseRequest): number {
  const { out } = request;
  request.output.bytes.fill(0, OUT_ARGS, OUT_ARGS + EntryOut.size);
  put64(out, OUT_ARGS + EntryOut.at.entryValid, volume.settings.negativeSeconds);
  out.setUint32(OUT_ARGS + EntryOut.at.entryValidNsec, volume.settings.negativeNanos, true);
  request.outputBytes = EntryOut.size;
  return 0;
}

/** Replies with the attributes in `volume.stat` of a pinned node. */
export function replyAttr(volume: Volume, request: FuseRequest, slot: number): number {
  const { out } = request;
  put64(out, OUT_ARGS + AttrOut.at.attrValid, volume.settings.attrSeconds);
  out.setUint32(OUT_ARGS + AttrOut.at.attrValidNsec, volume.settings.attrNanos, true);
  out.setUint32(OUT_ARGS + AttrOut.at.dummy, 0, true);
  request.outputBytes = AttrOut.size;
  return putAttr(volume, out, OUT_ARGS + AttrOut.at.attr, slot);
}

/** @returns 0 when the asker takes that many bytes; else -EINVAL, before anything was done */
export function room(request: FuseRequest, bytes: number): number {
  return request.outputLimit >= bytes ? 0 : -EINVAL;
}
