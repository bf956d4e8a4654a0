import { setU53 } from "../../../formats/bytes/index.ts";
import type { ErofsInode } from "../../../formats/erofs/index.ts";
import { Attr, AttrFlag, Kstatfs } from "../../../formats/fuse/index.ts";
import { BLOCK_SIZE, S_IFBLK, S_IFCHR } from "../../../formats/tree/index.ts";
import { replyAttr, type Validity } from "../replies.ts";
import { type FuseRequest, OUT_ARGS } from "../request.ts";
import { type ImageVolume, statusOfImage } from "./volume.ts";

/** An image never changes. */
export const FOREVER: Validity = { seconds: 365 * 86_400, nanos: 0 };
/** Longest file name. */
const NAME_BYTES = 255;
/** Unit of `blocks` in attributes, in bytes. */
const SECTOR_BYTES = 512;

/** GETATTR. */
export function getattr(volume: ImageVolume, request: FuseRequest): number {
  try {
    const inode = volume.load(request.nodeId);
    putAttr(volume, request.out, replyAttr(request, FOREVER), inode);
    return 0;
  } catch (error) {
    return statusOfImage(error);
  }
}

/** An inode's `struct fuse_attr` at `at`. */
export function putAttr(volume: ImageVolume, out: DataView, at: number, inode: ErofsInode): void {
  const { at: field } = Attr;
  const blocks = Math.ceil(inode.size / BLOCK_SIZE);
  // Not the node ID: the root's number is its own too.
  setU53(out, at + field.ino, inode.nid + 2);
  setU53(out, at + field.size, inode.size);
  setU53(out, at + field.blocks, blocks * (BLOCK_SIZE / SECTOR_BYTES));
  setU53(out, at + field.atime, inode.mtimeSeconds);
  setU53(out, at + field.mtime, inode.mtimeSeconds);
  setU53(out, at + field.ctime, inode.mtimeSeconds);
  out.setUint32(at + field.atimensec, inode.mtimeNanos, true);
  out.setUint32(at + field.mtimensec, inode.mtimeNanos, true);
  out.setUint32(at + field.ctimensec, inode.mtimeNanos, true);
  out.setUint32(at + field.mode, inode.mode, true);
  out.setUint32(at + field.nlink, inode.nlink, true);
  out.setUint32(at + field.uid, inode.uid, true);
  out.setUint32(at + field.gid, inode.gid, true);
  const { type } = inode;
  // EROFS and FUSE have the same 32-bit form of a device number.
  out.setUint32(at + field.rdev, type === S_IFCHR || type === S_IFBLK ? inode.u : 0, true);
  out.setUint32(at + field.blksize, BLOCK_SIZE, true);
  out.setUint32(at + field.flags, volume.isMapped(inode) ? AttrFlag.DAX : 0, true);
}

/** STATFS: all of the image, full. */
export function statfs({ reader }: ImageVolume, request: FuseRequest): number {
  const { out } = request;
  const { superblock, devices } = reader;
  let blocks = superblock.blocks;
  for (const device of devices) blocks += device.blocks;
  request.output.bytes.fill(0, OUT_ARGS, OUT_ARGS + Kstatfs.size);
  setU53(out, OUT_ARGS + Kstatfs.at.blocks, blocks);
  setU53(out, OUT_ARGS + Kstatfs.at.files, superblock.inos);
  out.setUint32(OUT_ARGS + Kstatfs.at.bsize, BLOCK_SIZE, true);
  out.setUint32(OUT_ARGS + Kstatfs.at.frsize, BLOCK_SIZE, true);
  out.setUint32(OUT_ARGS + Kstatfs.at.namelen, NAME_BYTES, true);
  request.outputBytes = Kstatfs.size;
  return 0;
}
