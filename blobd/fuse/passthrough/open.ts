import { CreateIn, EntryOut, OPEN_KILL_SUIDGID, OpenIn, OpenOut, OpenReplyFlag } from "../../../formats/fuse/index.ts";
import { errno } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { FileKind } from "./files.ts";
import { holdFile } from "./hooks.ts";
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSYS,
  EPERM,
  EROFS,
  ESTALE,
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECT,
  O_DSYNC,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  S_IFDIR,
} from "./linux.ts";
import { firstName } from "./names.ts";
import { put64, putEntry, room } from "./reply.ts";
import { resizing } from "./resize.ts";
import type { Volume } from "./volume.ts";

/** Flags of open(2) that are passed on. Others are the kernel's on the other side, or would have the host do more than open. */
const PASSED = O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_NOATIME;

/** The flags by which a file is opened on the host. @returns a negative error number for an access mode that is none */
function hostFlags({ settings }: Volume, flags: number): number {
  let host = flags & (settings.directIo ? PASSED | O_DIRECT : PASSED);
  const access = host & O_ACCMODE;
  if (access === O_ACCMODE) return -EINVAL;
  if (settings.readOnly && access !== O_RDONLY) return -EROFS;
  if (settings.writeback) {
    // The page cache on the other side reads what it writes in part, and knows where the end is.
    if (access === O_WRONLY) host = (host & ~O_ACCMODE) | O_RDWR;
    host &= ~O_APPEND;
  }
  return host;
}

/** What is said of the opened file of a node. */
export function openReplyFlags({ settings, nodes, devices }: Volume, slot: number, flags: number): number {
  // Whoever only reads has nothing whose failure close(2) would tell, nor has a file system where it never fails; but locks
  // go when a descriptor is closed.
  const isQuiet = (flags & O_ACCMODE) === O_RDONLY || devices.closesQuietly(nodes.deviceOf(slot));
  const quiet = isQuiet && !settings.posixLocks ? OpenReplyFlag.NOFLUSH : 0;
  switch (settings.cache) {
    case "never":
    case "metadata":
      return quiet | OpenReplyFlag.DIRECT_IO | OpenReplyFlag.PARALLEL_DIRECT_WRITES;
    case "always":
      return quiet | OpenReplyFlag.KEEP_CACHE | (flags & O_DIRECT ? OpenReplyFlag.PARALLEL_DIRECT_WRITES : 0);
    default:
      return quiet | (flags & O_DIRECT ? OpenReplyFlag.PARALLEL_DIRECT_WRITES : 0);
  }
}

export function putOpen(out: DataView, at: number, fh: number, flags: number): void {
  put64(out, at + OpenOut.at.fh, fh);
  out.setUint32(at + OpenOut.at.openFlags, flags, true);
  out.setInt32(at + OpenOut.at.backingId, 0, true);
}

/** OPEN. */
export function open(volume: Volume, request: FuseRequest): number {
  if (volume.settings.noOpen) return -ENOSYS;
  const bad = room(request, OpenOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const flags = dv.getUint32(IN_ARGS + OpenIn.at.flags, true);
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const isKilling = (dv.getUint32(IN_ARGS + OpenIn.at.openFlags, true) & OPEN_KILL_SUIDGID) !== 0;
  const file = openNode(volume, request.nodeId, slot, flags, isKilling);
  const replyFlags = openReplyFlags(volume, slot, flags);
  volume.nodes.unpin(slot);
  if (file < 0) return file;
  putOpen(request.out, OUT_ARGS, volume.files.idOf(file), replyFlags);
  request.outputBytes = OpenOut.size;
  return 0;
}

/** @returns the slot of an open file; a negative error number */
function openNode(volume: Volume, nodeId: number, slot: number, flags: number, isKilling: boolean): number {
  const host = hostFlags(volume, flags);
  if (host < 0) return host;
  if (volume.nodes.typeOf(slot) === S_IFDIR) return -EISDIR;
  let fd: number;
  if ((flags & O_TRUNC) === 0) fd = openAs(volume, slot, host);
  else {
    if (volume.settings.readOnly) return -EROFS;
    if (isKilling) volume.caller.dropFsetid();
    fd = resizing(volume, slot, 0, () => openAs(volume, slot, host | O_TRUNC));
    if (isKilling) volume.caller.restore();
  }
  return fd < 0 ? fd : volume.files.add(FileKind.FILE, fd, nodeId, host);
}

function openAs(volume: Volume, slot: number, flags: number): number {
  const fd = volume.open(slot, flags);
  // Only owners may ask for O_NOATIME, and the daemon need not be one.
  return fd === -EPERM && (flags & O_NOATIME) !== 0 ? volume.open(slot, flags & ~O_NOATIME) : fd;
}

/** CREATE: makes the file, or opens the one that is there, and counts a lookup of it. */
export function create(volume: Volume, request: FuseRequest): number {
  const bad = firstName(request) || room(request, EntryOut.size + OpenOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const flags = dv.getUint32(IN_ARGS + CreateIn.at.flags, true);
  const host = hostFlags(volume, flags);
  if (host < 0) return host;
  const parent = volume.nodes.pin(request.nodeId);
  if (parent === 0) return -ESTALE;
  let status = volume.settings.readOnly ? -EROFS : createNew(volume, request, parent, host);
  const mayExist = (flags & O_EXCL) === 0 || request.isRepeated;
  if ((status === -EEXIST || status === -EROFS) && mayExist)
    status = openExisting(volume, request, parent, flags, status);
  volume.nodes.unpin(parent);
  return status;
}

function createNew(volume: Volume, request: FuseRequest, parent: number, host: number): number {
  const { in: dv } = request;
  const dir = volume.nodes.fdOf(parent);
  if (dir < 0) return dir;
  const mode = dv.getUint32(IN_ARGS + CreateIn.at.mode, true) & 0o7777;
  const entered = volume.caller.enter(request.uid, request.gid);
  if (entered < 0) return entered;
  if (volume.settings.posixAcl) volume.caller.umask(dv.getUint32(IN_ARGS + CreateIn.at.umask, true));
  // O_EXCL whatever was asked: what is there already may be a fifo or a device, which must not be opened.
  const flags = (host & ~O_NOATIME) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const fd = volume.calls.openat(dir, request.name, flags, mode);
  const status = fd < 0 ? -errno() : 0;
  volume.caller.leave();
  if (status < 0) return status;
  return replyCreated(volume, request, parent, fd, host);
}

function replyCreated(
  volume: Volume,
  request: FuseRequest,
  parent: number,
  fd: number,
  host: number,
  isNameless = false,
): number {
  const slot = volume.enter(volume.nodes.deviceOf(parent), fd);
  if (slot < 0) {
    volume.calls.close(fd);
    return slot;
  }
  const nodeId = volume.nodes.idOf(slot);
  const file = volume.files.add(FileKind.FILE, fd, nodeId, host);
  if (file < 0) {
    volume.nodes.forget(nodeId, 1);
    return file;
  }
  if (isNameless) holdFile(volume, file);
  const fh = volume.files.idOf(file);
  volume.setNewest(nodeId, fh);
  putOpen(request.out, OUT_ARGS + EntryOut.size, fh, openReplyFlags(volume, slot, host));
  request.outputBytes = EntryOut.size + OpenOut.size;
  return putEntry(volume, request.out, OUT_ARGS, slot, parent);
}

/** @param status why it was not made */
function openExisting(volume: Volume, request: FuseRequest, parent: number, flags: number, status: number): number {
  const slot = volume.lookup(parent, request.name);
  if (slot < 0) return slot === -ENOENT ? status : slot;
  const nodeId = volume.nodes.idOf(slot);
  // The lookup that was just counted keeps it, but for a peer that forgets what it has not got yet: hence the pin.
  if (volume.nodes.pin(nodeId) === 0) return -ESTALE;
  const isKilling = (request.in.getUint32(IN_ARGS + CreateIn.at.openFlags, true) & OPEN_KILL_SUIDGID) !== 0;
  const file = openNode(volume, nodeId, slot, flags, isKilling);
  let stated = file < 0 ? file : volume.statOf(volume.files.fdOf(file));
  if (stated === 0) {
    stated = putEntry(volume, request.out, OUT_ARGS, slot, parent);
    putOpen(request.out, OUT_ARGS + EntryOut.size, volume.files.idOf(file), openReplyFlags(volume, slot, flags));
    request.outputBytes = EntryOut.size + OpenOut.size;
  } else volume.nodes.forget(nodeId, 1);
  volume.nodes.unpin(slot);
  return stated;
}

/** TMPFILE: a file without a name in a directory. */
export function tmpfile(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = room(request, EntryOut.size + OpenOut.size);
  if (bad !== 0) return bad;
  const { in: dv } = request;
  const host = hostFlags(volume, dv.getUint32(IN_ARGS + CreateIn.at.flags, true));
  if (host < 0) return host;
  if ((host & O_ACCMODE) === O_RDONLY) return -EINVAL;
  const parent = volume.nodes.pin(request.nodeId);
  if (parent === 0) return -ESTALE;
  const status = tmpfileIn(volume, request, parent, host);
  volume.nodes.unpin(parent);
  return status;
}

function tmpfileIn(volume: Volume, request: FuseRequest, parent: number, host: number): number {
  const { in: dv } = request;
  const dir = volume.nodes.fdOf(parent);
  if (dir < 0) return dir;
  if (volume.nodes.typeOf(parent) !== S_IFDIR) return -EINVAL;
  const entered = volume.caller.enter(request.uid, request.gid);
  if (entered < 0) return entered;
  if (volume.settings.posixAcl) volume.caller.umask(dv.getUint32(IN_ARGS + CreateIn.at.umask, true));
  const mode = dv.getUint32(IN_ARGS + CreateIn.at.mode, true) & 0o7777;
  const excl = dv.getUint32(IN_ARGS + CreateIn.at.flags, true) & O_EXCL;
  // By the descriptor's name, since open(2) wants the path of a directory here.
  const flags = (host & ~O_NOATIME) | O_TMPFILE | excl | O_CLOEXEC;
  const fd = volume.calls.openat(volume.proc.fd, volume.proc.name(dir), flags, mode);
  const status = fd < 0 ? -errno() : 0;
  volume.caller.leave();
  if (status < 0) return status;
  return replyCreated(volume, request, parent, fd, host, true);
}
