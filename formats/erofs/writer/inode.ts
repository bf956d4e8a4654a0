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
  const compact = InodeCompact.view(meta);
  const extended = InodeExtended.view(meta);
  for (const item of items) {
    const { inode, offset } = item;
    const format = item.dataLayout << INODE_DATALAYOUT_SHIFT;
    if (item.extended) {
      extended.offset = offset;
      extended.format = format | INODE_LAYOUT_EXTENDED;
      extended.xattrIcount = xattrIcount(item.xattrBytes);
      extended.mode = inode.mode;
      extended.size = item.size;
      extended.u = unionField(item, areas);
      extended.ino = item.index + 1;
      extended.uid = inode.uid;
      extended.gid = inode.gid;
      extended.mtimeLow = inode.mtimeSeconds >>> 0;
      extended.mtimeHigh = Math.floor(inode.mtimeSeconds / 0x1_0000_0000);
      extended.mtimeNsec = inode.mtimeNanos;
      extended.nlink = item.nlink;
    } else {
      compact.offset = offset;
      compact.format = format | INODE_LAYOUT_COMPACT;
      compact.xattrIcount = xattrIcount(item.xattrBytes);
      compact.mode = inode.mode;
      compact.nlink = item.nlink;
      compact.size = item.size;
      compact.u = unionField(item, areas);
      compact.ino = item.index + 1;
      compact.uid = inode.uid;
      compact.gid = inode.gid;
    }
    const head = headSize(item);
    if (item.xattrBytes > 0) writeXattrs(meta, item, offset + head - item.xattrBytes, areas.sharedXattrBase);
    if (item.dataLayout === DATALAYOUT_CHUNK_BASED)
      writeChunkIndexes(dv, item, offset + chunkIndexOffset(head), areas.blobs);
    else if (item.size > 0) writeContent(meta, dv, item, areas);
  }
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
