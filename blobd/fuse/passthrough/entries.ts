import { getU53 } from "../../../formats/bytes/index.ts";
import { EntryOut, LinkIn, MkdirIn, MknodIn, Rename2In } from "../../../formats/fuse/index.ts";
import { errno } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { holdNamed } from "./hooks.ts";
import {
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  EEXIST,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  EROFS,
  ESTALE,
  PATH_MAX,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from "./linux.ts";
import { checkName, firstName } from "./names.ts";
import { replyEntry, room } from "./reply.ts";
import type { Volume } from "./volume.ts";

/** Makes one thing by name in a directory. @returns 0, or negative as the system call does */
type Make = (volume: Volume, dir: number, request: FuseRequest) => number;
/** Whether what is there already is what a repeated request made. Attributes are in `volume.stat`. */
type IsMade = (volume: Volume, request: FuseRequest, slot: number) => boolean;

/** What MKDIR, MKNOD and SYMLINK share: made as the caller, then looked up. */
function make(volume: Volume, request: FuseRequest, umask: number, make: Make, isMade: IsMade): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = firstName(request) || room(request, EntryOut.size);
  if (bad !== 0) return bad;
  const parent = volume.nodes.pin(request.nodeId);
  if (parent === 0) return -ESTALE;
  const { caller } = volume;
  const dir = volume.nodes.fdOf(parent);
  let status = dir < 0 ? dir : caller.enter(request.uid, request.gid);
  if (status >= 0) {
    if (volume.settings.posixAcl) caller.umask(umask);
    status = make(volume, dir, request) < 0 ? -errno() : 0;
    caller.leave();
    if (status === 0 || (status === -EEXIST && request.isRepeated))
      status = replyMade(volume, request, parent, status, isMade);
  }
  volume.nodes.unpin(parent);
  return status;
}

function replyMade(volume: Volume, request: FuseRequest, parent: number, status: number, isMade: IsMade): number {
  const slot = volume.lookup(parent, request.name);
  if (slot < 0) return slot;
  if (status === 0 || isMade(volume, request, slot)) return replyEntry(volume, request, slot, parent);
  volume.nodes.forget(volume.nodes.idOf(slot), 1);
  return status;
}

/** MKDIR. */
export function mkdir(volume: Volume, request: FuseRequest): number {
  return make(volume, request, request.in.getUint32(IN_ARGS + MkdirIn.at.umask, true), makeDirectory, isDirectory);
}
const makeDirectory: Make = (volume, dir, request) =>
  volume.calls.mkdirat(dir, request.name, request.in.getUint32(IN_ARGS + MkdirIn.at.mode, true) & 0o7777);
const isDirectory: IsMade = (volume) => (volume.stat.mode & S_IFMT) === S_IFDIR;

/** MKNOD. */
export function mknod(volume: Volume, request: FuseRequest): number {
  return make(volume, request, request.in.getUint32(IN_ARGS + MknodIn.at.umask, true), makeNode, isSuchNode);
}
const makeNode: Make = (volume, dir, { in: dv, name }) => {
  const mode = dv.getUint32(IN_ARGS + MknodIn.at.mode, true);
  return volume.calls.mknodat(dir, name, mode & (S_IFMT | 0o7777), dv.getUint32(IN_ARGS + MknodIn.at.rdev, true));
};
const isSuchNode: IsMade = (volume, { in: dv }) =>
  ((dv.getUint32(IN_ARGS + MknodIn.at.mode, true) ^ volume.stat.mode) & S_IFMT) === 0;

/** SYMLINK: the first name is the link's, the second where it points. */
export function symlink(volume: Volume, request: FuseRequest): number {
  if (request.secondNameBytes === 0) return -ENOENT;
  if (request.secondNameBytes >= PATH_MAX) return -ENAMETOOLONG;
  return make(volume, request, 0, makeSymlink, isSuchSymlink);
}
const makeSymlink: Make = (volume, dir, request) => volume.calls.symlinkat(request.secondName, dir, request.name);
const isSuchSymlink: IsMade = (volume, request, slot) => {
  const length = readTarget(volume, slot, request.output.address, PATH_MAX);
  const { input, output, secondNameAt, secondNameBytes } = request;
  return (
    length === secondNameBytes &&
    output.bytes.compare(input.bytes, secondNameAt, secondNameAt + length, 0, length) === 0
  );
};

/** @returns the length of what was put at `address`; a negative error number */
function readTarget(volume: Volume, slot: number, address: number, bytes: number): number {
  const { nodes, calls, proc } = volume;
  if (nodes.typeOf(slot) !== S_IFLNK) return -EINVAL;
  const fd = nodes.fdOf(slot);
  if (fd < 0) return fd;
  const length = calls.readlinkat(fd, proc.empty, address, bytes);
  return length < 0 ? -errno() : length;
}

/** READLINK. Where it points is for the asker to follow: here it is only text. */
export function readlink(volume: Volume, request: FuseRequest): number {
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const limit = Math.min(request.outputLimit, PATH_MAX);
  const length = readTarget(volume, slot, request.output.address + OUT_ARGS, limit);
  volume.nodes.unpin(slot);
  if (length < 0) return length;
  request.outputBytes = length;
  return 0;
}

/** UNLINK. */
export function unlink(volume: Volume, request: FuseRequest): number {
  return remove(volume, request, 0);
}
/** RMDIR. */
export function rmdir(volume: Volume, request: FuseRequest): number {
  return remove(volume, request, AT_REMOVEDIR);
}
function remove(volume: Volume, request: FuseRequest, flags: number): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = firstName(request);
  if (bad !== 0) return bad;
  const parent = volume.nodes.pin(request.nodeId);
  if (parent === 0) return -ESTALE;
  const dir = volume.nodes.fdOf(parent);
  let status = dir;
  if (dir >= 0) {
    if (flags === 0) holdNamed(volume, parent, dir, request.name);
    status = volume.calls.unlinkat(dir, request.name, flags) < 0 ? -errno() : 0;
  }
  volume.nodes.unpin(parent);
  return status === -ENOENT && request.isRepeated ? 0 : status;
}

/** RENAME and RENAME2. */
export function rename(volume: Volume, request: FuseRequest, flags: number): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = firstName(request) || checkName(request, request.secondNameAt, request.secondNameBytes);
  if (bad !== 0) return bad;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
  const { nodes } = volume;
  const newDir = getU53(request.in, IN_ARGS + Rename2In.at.newdir, "fuse_rename2_in.newdir");
  const from = nodes.pin(request.nodeId);
  const to = nodes.pin(newDir);
  let status = -ESTALE;
  if (from !== 0 && to !== 0) status = renameBetween(volume, request, from, to, flags);
  if (from !== 0) nodes.unpin(from);
  if (to !== 0) nodes.unpin(to);
  return status;
}

function renameBetween(volume: Volume, request: FuseRequest, from: number, to: number, flags: number): number {
  const { nodes, calls, caller } = volume;
  const fromDir = nodes.fdOf(from);
  if (fromDir < 0) return fromDir;
  const toDir = nodes.fdOf(to);
  if (toDir < 0) return toDir;
  if ((flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) === 0) holdNamed(volume, to, toDir, request.secondName);
  // A whiteout is a new file.
  const isMaking = (flags & RENAME_WHITEOUT) !== 0;
  const entered = isMaking ? caller.enter(request.uid, request.gid) : 0;
  if (entered < 0) return entered;
  const status = calls.renameat2(fromDir, request.name, toDir, request.secondName, flags) < 0 ? -errno() : 0;
  if (isMaking) caller.leave();
  if (status !== -ENOENT || !request.isRepeated) return status;
  // It was done before when the new name is there.
  return calls.statx(toDir, request.secondName, AT_SYMLINK_NOFOLLOW, 0, volume.stat.address) === 0 ? 0 : status;
}

/** LINK: another name for a node. */
export function link(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const bad = firstName(request) || room(request, EntryOut.size);
  if (bad !== 0) return bad;
  const { nodes } = volume;
  const parent = nodes.pin(request.nodeId);
  const node = nodes.pin(getU53(request.in, IN_ARGS + LinkIn.at.oldnodeid, "fuse_link_in.oldnodeid"));
  let status = -ESTALE;
  if (parent !== 0 && node !== 0) status = linkTo(volume, request, parent, node);
  if (parent !== 0) nodes.unpin(parent);
  if (node !== 0) nodes.unpin(node);
  return status;
}

function linkTo(volume: Volume, request: FuseRequest, parent: number, node: number): number {
  const { nodes, calls, proc } = volume;
  const dir = nodes.fdOf(parent);
  if (dir < 0) return dir;
  const fd = nodes.fdOf(node);
  if (fd < 0) return fd;
  // By the descriptor's name: linking the descriptor itself (AT_EMPTY_PATH) takes CAP_DAC_READ_SEARCH.
  const status = calls.linkat(proc.fd, proc.name(fd), dir, request.name, AT_SYMLINK_FOLLOW) < 0 ? -errno() : 0;
  if (status < 0 && !(status === -EEXIST && request.isRepeated)) return status;
  const slot = volume.lookup(parent, request.name);
  if (slot < 0) return slot;
  if (status === 0 || slot === node) return replyEntry(volume, request, slot, parent);
  nodes.forget(nodes.idOf(slot), 1);
  return status;
}
