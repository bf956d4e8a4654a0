import { FormatError } from "../../bytes/index.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from "../../tree/index.ts";
import {
  DATALAYOUT_CHUNK_BASED,
  DATALAYOUT_COMPRESSED_COMPACT,
  DATALAYOUT_COMPRESSED_FULL,
  INODE_DATALAYOUT_SHIFT,
  INODE_LAYOUT_EXTENDED,
  InodeCompact,
  InodeExtended,
  ISLOT_SIZE,
  XattrIbodyHeader,
} from "../format.ts";
import type { Image } from "./image.ts";

/** Largest file size taken, in bytes: sums with it stay exact in a number. */
export const MAX_FILE_BYTES = 2 ** 52;
const DATALAYOUT_MASK = 7;
/** i_format bits that the 48-bit layout added (one link implied; no `.` entry). */
const FORMAT_48BIT = 0x10;

/** An inode as it is on disk, decoded. */
export class ErofsInode {
  nid = 0;
  /** Byte offset in the image. */
  offset = 0;
  extended = false;
  /** DATALAYOUT_…: how the data is stored. */
  dataLayout = 0;
  mode = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  /** Bytes of data: of a directory its blocks, of a symlink its target. */
  size = 0;
  /** Seconds since 1970, negative before. */
  mtimeSeconds = 0;
  mtimeNanos = 0;
  /** The number for 32-bit stat; not the NID. */
  ino = 0;
  /** Size of the xattrs in the inode: 0, or 3 plus this in units of 4 bytes. */
  xattrIcount = 0;
  /** `i_u`: block address, device number or chunk format, by type and layout. */
  u = 0;

  get type(): number {
    return this.mode & S_IFMT;
  }
  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
  get rdevMajor(): number {
    return this.#isDevice ? (this.u >>> 8) & 0xfff : 0;
  }
  get rdevMinor(): number {
    return this.#isDevice ? (this.u & 0xff) | ((this.u >>> 12) & 0xfff00) : 0;
  }
  /** Byte offset of the xattr body. */
  get xattrOffset(): number {
    return this.offset + (this.extended ? InodeExtended.size : InodeCompact.size);
  }
  /** Bytes of the xattr body. */
  get xattrBytes(): number {
    return this.xattrIcount === 0 ? 0 : XattrIbodyHeader.size + (this.xattrIcount - 1) * 4;
  }
  /** Byte offset of what follows the xattrs: inline data, or the chunk array once aligned. */
  get tailOffset(): number {
    return this.xattrOffset + this.xattrBytes;
  }

  get #isDevice(): boolean {
    return this.type === S_IFCHR || this.type === S_IFBLK;
  }
}

/**
 * Decodes the inode `nid` into `into` (a walk over many inodes reuses one).
 * @throws FormatError
 */
export function decodeInode(image: Image, nid: number, into: ErofsInode): ErofsInode {
  const offset = image.metaStart + nid * ISLOT_SIZE;
  if (!Number.isSafeInteger(offset) || nid < 0 || offset + InodeCompact.size > image.pages.size)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "nid",
      Number.isSafeInteger(offset) ? offset : 0,
      `found ${nid}, whose inode would lie outside the image of ${image.pages.size} bytes`,
    );
  const page = image.pages.at(offset, InodeCompact.size);
  const at = offset - page.start;
  const format = page.dv.getUint16(at + InodeCompact.at.format, true);
  into.nid = nid;
  into.offset = offset;
  into.extended = (format & 1) === INODE_LAYOUT_EXTENDED;
  into.dataLayout = (format >>> INODE_DATALAYOUT_SHIFT) & DATALAYOUT_MASK;
  into.xattrIcount = page.dv.getUint16(at + InodeCompact.at.xattrIcount, true);
  into.mode = page.dv.getUint16(at + InodeCompact.at.mode, true);
  into.u = page.dv.getUint32(at + InodeCompact.at.u, true);
  into.ino = page.dv.getUint32(at + InodeCompact.at.ino, true);
  if (format > 0xf || into.dataLayout > DATALAYOUT_CHUNK_BASED) refuseFormat(format, offset);
  if (!isFileType(into.mode & S_IFMT))
    throw new FormatError(
      "ERR_BAD_VALUE",
      "erofs_inode.mode",
      offset + InodeCompact.at.mode,
      `found 0${into.mode.toString(8)}, whose type bits are none of the seven file types`,
    );
  if (into.extended) return decodeExtended(image, offset, into);

  const { dv } = page;
  into.nlink = dv.getUint16(at + InodeCompact.at.nlink, true);
  into.size = dv.getUint32(at + InodeCompact.at.size, true);
  into.uid = dv.getUint16(at + InodeCompact.at.uid, true);
  into.gid = dv.getUint16(at + InodeCompact.at.gid, true);
  // Zero before Linux 6.15, seconds after the build time since.
  into.mtimeSeconds = image.superblock.buildTime + dv.getUint32(at + InodeCompact.at.reserved, true);
  into.mtimeNanos = image.superblock.buildTimeNsec;
  return into;
}

function decodeExtended(image: Image, offset: number, into: ErofsInode): ErofsInode {
  const page = image.pages.at(offset, InodeExtended.size);
  const { dv } = page;
  const at = offset - page.start;
  const { at: field } = InodeExtended;
  into.nlink = dv.getUint32(at + field.nlink, true);
  const sizeHigh = dv.getUint32(at + field.size + 4, true);
  into.size = sizeHigh * 0x1_0000_0000 + dv.getUint32(at + field.size, true);
  if (into.size > MAX_FILE_BYTES) throw tooLarge("erofs_inode_extended.size", offset + field.size, into.size);
  into.uid = dv.getUint32(at + field.uid, true);
  into.gid = dv.getUint32(at + field.gid, true);
  into.mtimeSeconds = dv.getInt32(at + field.mtimeHigh, true) * 0x1_0000_0000 + dv.getUint32(at + field.mtimeLow, true);
  if (Math.abs(into.mtimeSeconds) > MAX_FILE_BYTES)
    throw tooLarge("erofs_inode_extended.mtime", offset + field.mtimeLow, into.mtimeSeconds);
  into.mtimeNanos = dv.getUint32(at + field.mtimeNsec, true);
  if (into.mtimeNanos >= 1e9)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "erofs_inode_extended.mtimeNsec",
      offset + field.mtimeNsec,
      `found ${into.mtimeNanos}, expected < 10^9`,
    );
  return into;
}

/** Refuses inodes whose data this reader cannot decode. @throws FormatError ERR_UNSUPPORTED */
export function refuseCompressed(inode: ErofsInode): void {
  if (inode.dataLayout === DATALAYOUT_COMPRESSED_FULL || inode.dataLayout === DATALAYOUT_COMPRESSED_COMPACT)
    throw new FormatError(
      "ERR_UNSUPPORTED",
      "erofs_inode.format",
      inode.offset,
      `data layout ${inode.dataLayout} of nid ${inode.nid}: compressed data is not supported`,
    );
}

function isFileType(type: number): boolean {
  return (
    type === S_IFREG ||
    type === S_IFDIR ||
    type === S_IFLNK ||
    type === S_IFCHR ||
    type === S_IFBLK ||
    type === S_IFIFO ||
    type === S_IFSOCK
  );
}

function refuseFormat(format: number, offset: number): never {
  const what = (format & ~0x1f) === 0 && (format & FORMAT_48BIT) !== 0 ? ": a bit of the 48-bit layout" : "";
  throw new FormatError(
    what === "" ? "ERR_BAD_VALUE" : "ERR_UNSUPPORTED",
    "erofs_inode.format",
    offset,
    `found 0x${format.toString(16)}${what}, expected a known inode version and data layout`,
  );
}

function tooLarge(field: string, offset: number, value: number): FormatError {
  return new FormatError("ERR_BAD_VALUE", field, offset, `found ${value}, expected at most 2^52`);
}
