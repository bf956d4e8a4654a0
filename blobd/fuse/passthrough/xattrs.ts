import { type ByteString, fromBytes } from "../../../formats/bytes/index.ts";
import { COMPAT_SETXATTR_IN_BYTES, GetxattrIn, GetxattrOut, SetxattrIn } from "../../../formats/fuse/index.ts";
import { allocAligned, errno, type NativeBuffer } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { isAcl, mapAcl } from "./acl.ts";
import {
  E2BIG,
  EEXIST,
  EINVAL,
  ENAMETOOLONG,
  ENODATA,
  ENOSYS,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  EROFS,
  ESTALE,
} from "./linux.ts";
import type { Volume } from "./volume.ts";
import { xattrToGuest, xattrToHost } from "./xattr-map.ts";

/** XATTR_NAME_MAX, XATTR_LIST_MAX and XATTR_SIZE_MAX, linux/limits.h. */
const NAME_BYTES = 255;
const LIST_BYTES = 65536;
const VALUE_BYTES = 65536;

/** A thread's memory for names and values that are not passed on as they are. */
class Scratch {
  readonly name: NativeBuffer = allocAligned(NAME_BYTES + 1);
  readonly list: NativeBuffer = allocAligned(LIST_BYTES);
}
let scratch_: Scratch | null = null;
function scratch(): Scratch {
  scratch_ ??= new Scratch();
  return scratch_;
}

/** Address of the host's name for the request's attribute; a negative error number where there is none. */
function hostName(volume: Volume, request: FuseRequest): number {
  const { settings } = volume;
  // Linux does not ask again then; else it asks before the first write to each file (security.capability).
  if (!settings.xattr) return -ENOSYS;
  if (request.nameBytes === 0) return -EINVAL;
  if (request.nameBytes > NAME_BYTES) return -ERANGE;
  if (!settings.posixAcl && isAcl(request.input.bytes, request.nameAt, request.nameBytes)) return -EOPNOTSUPP;
  if (settings.xattrRules.length === 0) return request.name;
  const name = fromBytes(request.input.bytes, request.nameAt, request.nameAt + request.nameBytes);
  const mapped = xattrToHost(settings.xattrRules, name);
  if (mapped === "refused") return -EPERM;
  if (mapped === "unsupported") return -EOPNOTSUPP;
  if (mapped.name.length > NAME_BYTES) return -ENAMETOOLONG;
  const { bytes, address } = scratch().name;
  bytes.write(`${mapped.name}\0`, "latin1");
  return address;
}

/** SETXATTR. */
export function setxattr(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const name = hostName(volume, request);
  if (name < 0) return name;
  const { in: dv, input } = request;
  const size = dv.getUint32(IN_ARGS + SetxattrIn.at.size, true);
  const flags = dv.getUint32(IN_ARGS + SetxattrIn.at.flags, true);
  const hasMore = request.nameAt !== IN_ARGS + COMPAT_SETXATTR_IN_BYTES;
  const more = hasMore ? dv.getUint32(IN_ARGS + SetxattrIn.at.setxattrFlags, true) : 0;
  const value = request.nameAt + request.nameBytes + 1;
  if (size > VALUE_BYTES) return -E2BIG;
  if (value + size > request.extensionsAt) return -EINVAL;
  const isList = isAcl(input.bytes, request.nameAt, request.nameBytes);
  if (isList && !mapAcl(volume.settings, input.bytes, value, size, true)) return -EINVAL;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.nodes.fdOf(slot);
  let status = fd;
  if (fd >= 0) {
    // SETXATTR_ACL_KILL_SGID: the host's kernel does that by itself for one who has no CAP_FSETID.
    if ((more & 1) !== 0) volume.caller.dropFsetid();
    status = volume.xattrs.set(fd, name, input.address + value, size, flags) < 0 ? -errno() : 0;
    if ((more & 1) !== 0) volume.caller.restore();
    // Made before, by the same request.
    if (status === -EEXIST && request.isRepeated) status = 0;
  }
  volume.nodes.unpin(slot);
  return status;
}

/** GETXATTR: the value, or its length to one who brings no room. */
export function getxattr(volume: Volume, request: FuseRequest): number {
  const name = hostName(volume, request);
  if (name < 0) return name;
  const size = Math.min(request.in.getUint32(IN_ARGS + GetxattrIn.at.size, true), VALUE_BYTES);
  if (size > request.outputLimit) return -EINVAL;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const length = getAt(volume, slot, request.nodeId, name, request.output.address + OUT_ARGS, size);
  volume.nodes.unpin(slot);
  if (length < 0) return length;
  if (size === 0) return replyLength(request, length);
  if (isAcl(request.input.bytes, request.nameAt, request.nameBytes))
    mapAcl(volume.settings, request.output.bytes, OUT_ARGS, length, false);
  request.outputBytes = length;
  return 0;
}

/** @returns the length of what was put at `address`; a negative error number */
function getAt(volume: Volume, slot: number, nodeId: number, name: number, address: number, size: number): number {
  const { nodes, files, calls, xattrs } = volume;
  const file = volume.pinNewest(nodeId);
  if (file !== 0) {
    const found = calls.fgetxattr(files.fdOf(file), name, address, size);
    const length = found < 0 ? -errno() : found;
    files.unpin(file);
    return length;
  }
  const fd = nodes.fdOf(slot);
  if (fd < 0) return fd;
  const found = xattrs.get(fd, name, address, size);
  return found < 0 ? -errno() : found;
}

function replyLength(request: FuseRequest, length: number): number {
  request.out.setUint32(OUT_ARGS + GetxattrOut.at.size, length, true);
  request.out.setUint32(OUT_ARGS + GetxattrOut.at.padding, 0, true);
  request.outputBytes = GetxattrOut.size;
  return 0;
}

/** LISTXATTR: the names that the other side may see, each with its NUL. */
export function listxattr(volume: Volume, request: FuseRequest): number {
  if (!volume.settings.xattr) return -ENOSYS;
  const size = request.in.getUint32(IN_ARGS + GetxattrIn.at.size, true);
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.nodes.fdOf(slot);
  const { list } = scratch();
  let length = fd;
  if (fd >= 0) {
    length = volume.xattrs.list(fd, list.address, LIST_BYTES);
    if (length < 0) length = -errno();
  }
  volume.nodes.unpin(slot);
  if (length < 0) return length;
  const shown = shownNames(volume, list.bytes, length);
  if (size === 0) return replyLength(request, shown.length);
  if (shown.length > size) return -ERANGE;
  if (shown.length > request.outputLimit) return -EINVAL;
  request.output.bytes.write(shown, OUT_ARGS, "latin1");
  request.outputBytes = shown.length;
  return 0;
}

function shownNames({ settings }: Volume, bytes: Buffer, length: number): ByteString {
  let shown = "";
  for (let start = 0; start < length; ) {
    const end = bytes.indexOf(0, start);
    if (end < 0 || end >= length) break;
    if (settings.posixAcl || !isAcl(bytes, start, end - start)) {
      const name = fromBytes(bytes, start, end);
      const guest = settings.xattrRules.length === 0 ? name : xattrToGuest(settings.xattrRules, name);
      if (guest !== null) shown += `${guest}\0`;
    }
    start = end + 1;
  }
  return shown;
}

/** REMOVEXATTR. */
export function removexattr(volume: Volume, request: FuseRequest): number {
  if (volume.settings.readOnly) return -EROFS;
  const name = hostName(volume, request);
  if (name < 0) return name;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.nodes.fdOf(slot);
  let status = fd;
  if (fd >= 0) status = volume.xattrs.remove(fd, name) < 0 ? -errno() : 0;
  volume.nodes.unpin(slot);
  return status === -ENODATA && request.isRepeated ? 0 : status;
}
