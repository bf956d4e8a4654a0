import { getU53 } from "../../../formats/bytes/index.ts";
import { FlushIn, FSYNC_FDATASYNC, FsyncIn, OpenOut, OpenReplyFlag, ReleaseIn } from "../../../formats/fuse/index.ts";
import { errno } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { FileKind } from "./files.ts";
import { EBADF, EINVAL, ENOSYS, ESTALE, O_DIRECTORY, O_RDONLY, S_IFREG } from "./linux.ts";
import { putOpen } from "./open.ts";
import { room } from "./reply.ts";
import type { Volume } from "./volume.ts";

/** RELEASE. */
export function release(volume: Volume, request: FuseRequest): number {
  const fh = getU53(request.in, IN_ARGS + ReleaseIn.at.fh, "fuse_release_in.fh");
  if (volume.settings.noOpen && fh === 0) return 0;
  return released(volume, request, fh, FileKind.FILE);
}

/** FLUSH: a descriptor of the file was closed. What close(2) would have said of it is said now. */
export function flush(volume: Volume, request: FuseRequest): number {
  const { files, calls } = volume;
  // Nothing was opened, nothing is to be said of it: the kernel does not ask again.
  if (volume.settings.noOpen || neverFails(volume)) return -ENOSYS;
  const file = files.pin(
    getU53(request.in, IN_ARGS + FlushIn.at.fh, "fuse_flush_in.fh"),
    FileKind.FILE,
    request.nodeId,
  );
  if (file === 0) return -EBADF;
  const copy = calls.fcntlInt(files.fdOf(file), F_DUPFD_CLOEXEC, 0);
  const status = copy < 0 || calls.close(copy) < 0 ? -errno() : 0;
  files.unpin(file);
  volume.locks?.drop(request, IN_ARGS + FlushIn.at.lockOwner);
  return status;
}
const F_DUPFD_CLOEXEC = 1030;

/** A kernel that collects writes asks at each close, whatever was said of the file, until it is told that there is nothing. */
function neverFails({ settings, devices }: Volume): boolean {
  return settings.writeback && !settings.posixLocks && devices.allCloseQuietly();
}

/** FSYNC. */
export function fsync(volume: Volume, request: FuseRequest): number {
  // Of a read-only export.
  if (volume.settings.noOpen) return 0;
  return syncFile(volume, request, FileKind.FILE);
}

/** FSYNCDIR. */
export function fsyncdir(volume: Volume, request: FuseRequest): number {
  if (volume.settings.noOpen) return 0;
  return syncFile(volume, request, FileKind.DIRECTORY);
}

function syncFile(volume: Volume, request: FuseRequest, kind: number): number {
  const { files, calls } = volume;
  const { in: dv } = request;
  const file = files.pin(getU53(dv, IN_ARGS + FsyncIn.at.fh, "fuse_fsync_in.fh"), kind, request.nodeId);
  if (file === 0) return -EBADF;
  const isDataOnly = (dv.getUint32(IN_ARGS + FsyncIn.at.fsyncFlags, true) & FSYNC_FDATASYNC) !== 0;
  const fd = files.fdOf(file);
  const status = (isDataOnly ? calls.fdatasync(fd) : calls.fsync(fd)) < 0 ? -errno() : 0;
  files.unpin(file);
  return status;
}

/** OPENDIR. */
export function opendir(volume: Volume, request: FuseRequest): number {
  if (volume.settings.noOpen) return -ENOSYS;
  const bad = room(request, OpenOut.size);
  if (bad !== 0) return bad;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.nodes.typeOf(slot) === S_IFREG ? -EINVAL : volume.open(slot, O_RDONLY | O_DIRECTORY);
  volume.nodes.unpin(slot);
  if (fd < 0) return fd;
  const file = volume.files.add(FileKind.DIRECTORY, fd, request.nodeId, 0);
  if (file < 0) return file;
  const isKept = volume.settings.cache === "always";
  const flags = isKept ? OpenReplyFlag.CACHE_DIR | OpenReplyFlag.KEEP_CACHE : 0;
  putOpen(request.out, OUT_ARGS, volume.files.idOf(file), flags);
  request.outputBytes = OpenOut.size;
  return 0;
}

/** RELEASEDIR. */
export function releasedir(volume: Volume, request: FuseRequest): number {
  const fh = getU53(request.in, IN_ARGS + ReleaseIn.at.fh, "fuse_release_in.fh");
  return released(volume, request, fh, FileKind.DIRECTORY);
}

/** Closes an open file; what a process before this one has closed for the same request stays so. */
function released(volume: Volume, request: FuseRequest, fh: number, kind: number): number {
  return volume.files.release(fh, kind, request.nodeId) || request.isRepeated ? 0 : -EBADF;
}
