import { FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import { DATALAYOUT_FLAT_INLINE, DATALAYOUT_FLAT_PLAIN } from "../format.ts";
import type { Image } from "./image.ts";
import { type ErofsInode, refuseCompressed } from "./inode.ts";

/** Bytes of an inode's data that lie behind the inode itself; 0 unless FLAT_INLINE. */
export function inlineTailBytes(inode: ErofsInode): number {
  if (inode.dataLayout !== DATALAYOUT_FLAT_INLINE || inode.size === 0) return 0;
  return inode.size - (Math.ceil(inode.size / BLOCK_SIZE) - 1) * BLOCK_SIZE;
}

/**
 * The data of an inode that lies behind the inode itself: a view, empty unless FLAT_INLINE.
 * @throws FormatError
 */
export function inlineTail(image: Image, inode: ErofsInode): Buffer {
  const length = inlineTailBytes(inode);
  if (length === 0) return EMPTY;
  return image.pages.bytes(inlineTailOffset(inode, length), length);
}

const EMPTY = Buffer.alloc(0);

function inlineTailOffset(inode: ErofsInode, length: number): number {
  const offset = inode.tailOffset;
  if ((offset % BLOCK_SIZE) + length > BLOCK_SIZE)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "inline data",
      offset,
      `${length} bytes of nid ${inode.nid} cross the end of their block, ${BLOCK_SIZE - (offset % BLOCK_SIZE)} bytes on`,
    );
  return offset;
}

/**
 * Where block `index` of a directory or symlink starts in the image, in bytes.
 * @throws FormatError ERR_UNSUPPORTED when it is not stored flat.
 */
export function flatBlockOffset(inode: ErofsInode, index: number): number {
  if (inode.dataLayout === DATALAYOUT_FLAT_INLINE && index === Math.ceil(inode.size / BLOCK_SIZE) - 1)
    return inlineTailOffset(inode, inlineTailBytes(inode));
  if (inode.dataLayout !== DATALAYOUT_FLAT_PLAIN && inode.dataLayout !== DATALAYOUT_FLAT_INLINE) {
    refuseCompressed(inode);
    throw new FormatError(
      "ERR_UNSUPPORTED",
      "erofs_inode.format",
      inode.offset,
      `data layout ${inode.dataLayout} of nid ${inode.nid}: directories and symlinks are read when flat`,
    );
  }
  return (inode.u + index) * BLOCK_SIZE;
}

/** The whole content of a flat file in the image itself: a view where it can be one. @throws FormatError */
export function flatContent(image: Image, inode: ErofsInode): Uint8Array {
  const tail = inlineTail(image, inode);
  if (tail.length === inode.size) return tail;
  const blocks = image.pages.bytes(inode.u * BLOCK_SIZE, inode.size - tail.length);
  return tail.length === 0 ? blocks : Buffer.concat([blocks, tail]);
}
