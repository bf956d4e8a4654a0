import { type ByteString, FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE, S_IFLNK } from "../../tree/index.ts";
import { flatBlockOffset } from "./flat.ts";
import type { Image } from "./image.ts";
import type { ErofsInode } from "./inode.ts";

/** Longest symlink target, in bytes: one block, and what Linux takes (PATH_MAX). */
export const MAX_SYMLINK_BYTES = BLOCK_SIZE;

/** A symlink's target. @throws FormatError */
export function readSymlink(image: Image, inode: ErofsInode): ByteString {
  if (inode.type !== S_IFLNK)
    throw new FormatError("ERR_BAD_VALUE", "erofs_inode.mode", inode.offset, `nid ${inode.nid} is no symlink`);
  if (inode.size === 0 || inode.size > MAX_SYMLINK_BYTES)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "erofs_inode.size",
      inode.offset,
      `found ${inode.size} for a symlink, expected 1 to ${MAX_SYMLINK_BYTES}`,
    );
  const offset = flatBlockOffset(inode, 0);
  const page = image.pages.at(offset, inode.size);
  const at = offset - page.start;
  const target = page.bytes.toString("latin1", at, at + inode.size);
  if (target.includes("\0"))
    throw new FormatError("ERR_BAD_VALUE", "symlink target", offset, `nid ${inode.nid} has a zero byte in its target`);
  return target;
}
