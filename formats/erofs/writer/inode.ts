import { setU53 } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import {
  CHUNK_FORMAT_INDEXES,
  DATALAYOUT_CHUNK_BASED,
  DATALAYOUT_FLAT_INLINE,
  FT_BLKDEV,
  FT_CHRDEV,
  FT_DIR,
  FT_SYMLINK,
  INODE_DATALAYOUT_SHIFT,
  INODE_LAYOUT_COMPACT,
  INODE_LAYOUT_EXTENDED,
  InodeCompact,
  InodeExtended,
} from "../format.ts";
import { putBytes } from "./bytes.ts";
import { type BlobPlace, chunkIndexOffset, writeChunkIndexes } from "./chunks.ts";
import { writeDirectory } from "./dirents.ts";
import { headSize } from "./layout.ts";
import type { Item } from "./plan.ts";
import { writeXattrs, xattrIcount } from "./xattrs.ts";

/** Where the areas lie that inodes point into. */
export interface Areas {
  /** Byte that NIDs count from. */
  readonly metaStart: number;
  /** First byte of the data area. */
  readonly dataStart: number;
  /** Start of the shared xattrs, in bytes from the block that xattrBlkAddr names. */
  readonly sharedXattrBase: number;
  /** Chunk addresses, by blob. */
  readonly blobs: readonly BlobPlace[];
}

/** Writes every item: inode, xattrs, and what follows them or lies in the data area. */
export function writeInodes(meta: Buffer, items: readonly Item[], areas: Areas): void {
  const dv = new DataView(meta.buffer, meta.byteOffset, meta.byteLength);
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!;
    if (item.extended) writeExtended(dv, item, i + 1, unionField(item, areas));
    else writeCompact(dv, item, i + 1, unionField(item, areas));
    const head = headSize(item);
    if (item.xattrBytes > 0) writeXattrs(meta, item, item.offset + head - item.xattrBytes, areas.sharedXattrBase);
    if (item.dataLayout === DATALAYOUT_CHUNK_BASED)
      writeChunkIndexes(dv, item, item.offset + chunkIndexOffset(head), areas.blobs);
    else if (item.size > 0) writeContent(meta, dv, item, areas);
  }
}

// Written field by field at fixed offsets: a struct view's setters would take most of the writer's time here.
const COMPACT = InodeCompact.at;
const EXTENDED = InodeExtended.at;

function writeCompact(dv: DataView, item: Item, ino: number, union: number): void {
  const { inode, offset } = item;
  dv.setUint16(offset + COMPACT.format, (item.dataLayout << INODE_DATALAYOUT_SHIFT) | INODE_LAYOUT_COMPACT, true);
  dv.setUint16(offset + COMPACT.xattrIcount, xattrIcount(item.xattrBytes), true);
  dv.setUint16(offset + COMPACT.mode, inode.mode, true);
  dv.setUint16(offset + COMPACT.nlink, item.nlink, true);
  dv.setUint32(offset + COMPACT.size, item.size, true);
  dv.setUint32(offset + COMPACT.u, union, true);
  dv.setUint32(offset + COMPACT.ino, ino, true);
  dv.setUint16(offset + COMPACT.uid, inode.uid, true);
  dv.setUint16(offset + COMPACT.gid, inode.gid, true);
}

function writeExtended(dv: DataView, item: Item, ino: number, union: number): void {
  const { inode, offset } = item;
  dv.setUint16(offset + EXTENDED.format, (item.dataLayout << INODE_DATALAYOUT_SHIFT) | INODE_LAYOUT_EXTENDED, true);
  dv.setUint16(offset + EXTENDED.xattrIcount, xattrIcount(item.xattrBytes), true);
  dv.setUint16(offset + EXTENDED.mode, inode.mode, true);
  setU53(dv, offset + EXTENDED.size, item.size);
  dv.setUint32(offset + EXTENDED.u, union, true);
  dv.setUint32(offset + EXTENDED.ino, ino, true);
  dv.setUint32(offset + EXTENDED.uid, inode.uid, true);
  dv.setUint32(offset + EXTENDED.gid, inode.gid, true);
  dv.setUint32(offset + EXTENDED.mtimeLow, inode.mtimeSeconds >>> 0, true);
  dv.setInt32(offset + EXTENDED.mtimeHigh, Math.floor(inode.mtimeSeconds / 0x1_0000_0000), true);
  dv.setUint32(offset + EXTENDED.mtimeNsec, inode.mtimeNanos, true);
  dv.setUint32(offset + EXTENDED.nlink, item.nlink, true);
}

/** i_u: the first block of flat content, the chunk format, or the device number. */
function unionField(item: Item, areas: Areas): number {
  if (item.dataLayout === DATALAYOUT_CHUNK_BASED) return item.chunkBits | CHUNK_FORMAT_INDEXES;
  if (item.dataBlocks > 0) return areas.dataStart / BLOCK_SIZE + item.firstDataBlock;
  if (item.fileType === FT_CHRDEV || item.fileType === FT_BLKDEV)
    return encodeDevice(item.inode.rdevMajor, item.inode.rdevMinor);
  return 0;
}

/** Linux include/linux/kdev_t.h, new_encode_dev: 12 bits of major amid 20 bits of minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Writes directory entries, link target or file content: whole blocks in the data area, a tail behind the inode. */
function writeContent(meta: Buffer, dv: DataView, item: Item, areas: Areas): void {
  const blocksAt = areas.dataStart + item.firstDataBlock * BLOCK_SIZE;
  const tailAt = item.dataLayout === DATALAYOUT_FLAT_INLINE ? item.offset + headSize(item) : -1;
  if (item.fileType === FT_DIR) {
    writeDirectory(meta, dv, item, blocksAt, tailAt, areas.metaStart);
  } else if (item.fileType === FT_SYMLINK) {
    putBytes(meta, item.inode.target, tailAt < 0 ? blocksAt : tailAt);
  } else {
    const content = item.inode.inlineData!;
    const inBlocks = tailAt < 0 ? content.length : item.dataBlocks * BLOCK_SIZE;
    meta.set(content.subarray(0, inBlocks), blocksAt);
    if (tailAt >= 0) meta.set(content.subarray(inBlocks), tailAt);
  }
}
