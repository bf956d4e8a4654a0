import type { BlobRef } from "../../tree/index.ts";
import { FT_REG_FILE, FT_SYMLINK } from "../format.ts";
import { planChunks } from "./chunks.ts";
import { ErofsWriteError } from "./errors.ts";
import type { Item } from "./plan.ts";

/** Longest symlink target: Linux PATH_MAX less the NUL. */
const MAX_TARGET_BYTES = 4095;
/** Largest file size written: sums with it stay exact in a number. */
const MAX_FILE_BYTES = 2 ** 52;
const MAX_U32 = 0xffffffff;

/**
 * Checks what an inode says of itself and sets what follows from it alone: size and chunks (a directory's size comes
 * with its entries), and `extended` when a compact inode is too narrow for it.
 *
 * @param apart whether each blob is a device of its own
 * @throws ErofsWriteError when the format cannot express it, or the tree breaks its own rules
 */
export function measureInode(item: Item, blobs: readonly BlobRef[], apart: boolean): void {
  const { inode } = item;
  checkNumbers(item);
  if (item.fileType === FT_REG_FILE) {
    item.size = inode.size;
    if (inode.inlineData === null) planChunks(item, blobs, apart);
    else if (inode.inlineData.length !== inode.size || inode.extents.length > 0) throw badInlineData(item);
  } else if (item.fileType === FT_SYMLINK) {
    item.size = inode.target.length;
    if (item.size < 1 || item.size > MAX_TARGET_BYTES) throw badTarget(item);
  }
  // A compact inode has 16-bit owners and a 32-bit size.
  item.extended = inode.uid > 0xffff || inode.gid > 0xffff || item.size > MAX_U32;
}

function checkNumbers(item: Item): void {
  const { uid, gid, mode, size, mtimeSeconds, mtimeNanos, rdevMajor, rdevMinor } = item.inode;
  if (
    isWithin(uid, MAX_U32) &&
    isWithin(gid, MAX_U32) &&
    isWithin(mode, 0xffff) &&
    isWithin(size, MAX_FILE_BYTES) &&
    Number.isSafeInteger(mtimeSeconds) &&
    isWithin(mtimeNanos, 999_999_999) &&
    isWithin(rdevMajor, 0xfff) &&
    isWithin(rdevMinor, 0xfffff)
  )
    return;
  throw new ErofsWriteError(
    "ERR_LIMIT",
    item.path,
    `owner ${uid}:${gid}, mode 0${mode.toString(8)}, size ${size}, mtime ${mtimeSeconds} s ${mtimeNanos} ns, ` +
      `device ${rdevMajor}:${rdevMinor}: one of them is outside what the format holds`,
  );
}

function isWithin(value: number, max: number): boolean {
  return value >= 0 && value <= max && Number.isInteger(value);
}

function badInlineData(item: Item): ErofsWriteError {
  const { size, inlineData, extents } = item.inode;
  return new ErofsWriteError(
    "ERR_BAD_TREE",
    item.path,
    `${size} bytes, but ${inlineData?.length} of inline data and ${extents.length} extents`,
  );
}

function badTarget(item: Item): ErofsWriteError {
  return new ErofsWriteError(
    item.size === 0 ? "ERR_BAD_TREE" : "ERR_LIMIT",
    item.path,
    `the link target has ${item.size} bytes, it must have 1 to ${MAX_TARGET_BYTES}`,
  );
}
