import { GetxattrIn, GetxattrOut } from "../../../formats/fuse/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { ENODATA, ERANGE } from "./linux.ts";
import { type ImageVolume, statusOfImage } from "./volume.ts";

const TRUSTED = Buffer.from("trusted.");
/** Longest list of names that Linux takes: XATTR_LIST_MAX. */
const MAX_LIST_BYTES = 65536;

/** GETXATTR. */
export function getxattr(volume: ImageVolume, request: FuseRequest): number {
  try {
    const { xattrs } = volume;
    const inode = volume.load(request.nodeId);
    if (inode.xattrIcount === 0) return -ENODATA;
    xattrs.start(inode);
    do if (!xattrs.next()) return -ENODATA;
    while (!xattrs.isNamed(request.input.bytes, request.nameAt, request.nameBytes));
    const { bytes, valueAt, valueBytes } = xattrs;
    const size = request.in.getUint32(IN_ARGS + GetxattrIn.at.size, true);
    if (size === 0) return replySize(request, valueBytes);
    if (valueBytes > size || valueBytes > request.outputLimit) return -ERANGE;
    put(request, OUT_ARGS, bytes, valueAt, valueBytes);
    request.outputBytes = valueBytes;
    return 0;
  } catch (error) {
    return statusOfImage(error);
  }
}

/** LISTXATTR. As in EROFS, `trusted.*` is shown to root only. */
export function listxattr(volume: ImageVolume, request: FuseRequest): number {
  try {
    const { xattrs } = volume;
    const size = request.in.getUint32(IN_ARGS + GetxattrIn.at.size, true);
    const limit = size === 0 ? MAX_LIST_BYTES : Math.min(size, request.outputLimit, MAX_LIST_BYTES);
    let used = 0;
    xattrs.start(volume.load(request.nodeId));
    while (xattrs.next()) {
      const { prefix, nameBytes } = xattrs;
      if (request.uid !== 0 && startsWith(prefix, TRUSTED)) continue;
      const length = prefix.length + nameBytes + 1;
      if (used + length > limit) return -ERANGE;
      if (size > 0) {
        const at = OUT_ARGS + used;
        put(request, at, prefix, 0, prefix.length);
        put(request, at + prefix.length, xattrs.bytes, xattrs.nameAt, nameBytes);
        request.output.bytes[at + length - 1] = 0;
      }
      used += length;
    }
    if (size === 0) return replySize(request, used);
    request.outputBytes = used;
    return 0;
  } catch (error) {
    return statusOfImage(error);
  }
}

function replySize(request: FuseRequest, bytes: number): number {
  request.out.setUint32(OUT_ARGS + GetxattrOut.at.size, bytes, true);
  request.out.setUint32(OUT_ARGS + GetxattrOut.at.padding, 0, true);
  request.outputBytes = GetxattrOut.size;
  return 0;
}

function put({ output }: FuseRequest, at: number, from: Uint8Array, fromAt: number, bytes: number): void {
  for (let i = 0; i < bytes; i++) output.bytes[at + i] = from[fromAt + i]!;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}
