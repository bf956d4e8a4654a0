import { FormatError, getU53 } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import { Dirent, NAME_LEN } from "../format.ts";
import { dirBlockCount } from "./dirents.ts";
import { flatBlockOffset } from "./flat.ts";
import type { Image } from "./image.ts";
import type { ErofsInode } from "./inode.ts";
import type { Page } from "./pages.ts";

const SLASH = 0x2f;

/**
 * A directory block whose names stay bytes: for a server that looks up names by the hundred thousand. DirBlock tells how a
 * block is built. Loaded again and again; it allocates nothing.
 */
export class RawDirBlock {
  /** Number of entries. */
  count = 0;
  /** Where names lie: at `nameAt` of these. */
  bytes: Uint8Array = new Uint8Array(0);
  #dv: DataView = new DataView(new ArrayBuffer(0));
  /** Where the block lies in `bytes`, and ends. */
  #at = 0;
  #end = 0;
  /** Byte offset in the image. */
  #offset = 0;
  /** Of the entry that `select` has found sound. */
  nameAt = 0;
  nameBytes = 0;

  /** Loads block `index` of a directory. @throws FormatError */
  load(image: Image, dir: ErofsInode, index: number): void {
    const length = Math.min(BLOCK_SIZE, dir.size - index * BLOCK_SIZE);
    const offset = flatBlockOffset(dir, index);
    const page: Page = image.pages.at(offset, length);
    this.bytes = page.bytes;
    this.#dv = page.dv;
    this.#offset = offset;
    this.#at = offset - page.start;
    this.#end = this.#at + length;
    const namesStart = length < Dirent.size ? 0 : page.dv.getUint16(this.#at + Dirent.at.nameOff, true);
    if (namesStart < Dirent.size || namesStart >= length || namesStart % Dirent.size !== 0)
      throw this.#bad(0, `found ${namesStart}, expected a multiple of 12 from 12 to ${length - 1}`);
    this.count = namesStart / Dirent.size;
  }

  /** Finds entry `i`'s name. @throws FormatError */
  select(i: number): void {
    const start = this.#at + this.#nameOff(i);
    let end = i + 1 < this.count ? this.#at + this.#nameOff(i + 1) : this.#end;
    if (start < this.#at + this.count * Dirent.size || end <= start || end > this.#end)
      throw this.#bad(i, `the name lies from ${start - this.#at} to ${end - this.#at} of the block`);
    const { bytes } = this;
    if (i + 1 === this.count) {
      // The last name ends at a zero, or with the block.
      const limit = Math.min(end, start + NAME_LEN + 1);
      end = start;
      while (end < limit && bytes[end] !== 0) end++;
    }
    if (end === start || end - start > NAME_LEN) throw this.#bad(i, `the name has ${end - start} bytes`);
    this.nameAt = start;
    this.nameBytes = end - start;
  }

  /** Whether the selected name is one that a directory may have: no slash and no zero in it. */
  get isName(): boolean {
    for (let at = this.nameAt; at < this.nameAt + this.nameBytes; at++)
      if (this.bytes[at] === SLASH || this.bytes[at] === 0) return false;
    return true;
  }

  /** The NID of entry `i`. @throws FormatError */
  nid(i: number): number {
    return getU53(this.#dv, this.#at + i * Dirent.size + Dirent.at.nid, "erofs_dirent.nid");
  }

  fileType(i: number): number {
    return this.bytes[this.#at + i * Dirent.size + Dirent.at.fileType]!;
  }

  /** How entry `i`'s name compares with another: negative when it comes before. @throws FormatError */
  compare(i: number, name: Uint8Array, at: number, length: number): number {
    this.select(i);
    const { bytes, nameAt, nameBytes } = this;
    const common = Math.min(nameBytes, length);
    for (let k = 0; k < common; k++) {
      const difference = bytes[nameAt + k]! - name[at + k]!;
      if (difference !== 0) return difference;
    }
    return nameBytes - length;
  }

  #nameOff(i: number): number {
    return this.#dv.getUint16(this.#at + i * Dirent.size + Dirent.at.nameOff, true);
  }

  #bad(i: number, detail: string): FormatError {
    return new FormatError(
      "ERR_BAD_VALUE",
      "erofs_dirent.nameOff",
      this.#offset + i * Dirent.size + Dirent.at.nameOff,
      detail,
    );
  }
}

/**
 * The NID of a directory's entry, found as the kernel does: by halving over the blocks, then inside one.
 * @param name where the name lies, `length` bytes at `at`
 * @param block to work with
 * @returns -1 when there is none of that name
 * @throws FormatError
 */
export function findDirent(
  image: Image,
  dir: ErofsInode,
  name: Uint8Array,
  at: number,
  length: number,
  block: RawDirBlock,
): number {
  let low = 0;
  let high = dirBlockCount(dir) - 1;
  // The last block whose first name does not come behind.
  let candidate = -1;
  while (low <= high) {
    const middle = low + Math.floor((high - low) / 2);
    block.load(image, dir, middle);
    const order = block.compare(0, name, at, length);
    if (order === 0) return block.nid(0);
    if (order > 0) high = middle - 1;
    else {
      candidate = middle;
      low = middle + 1;
    }
  }
  if (candidate < 0) return -1;
  block.load(image, dir, candidate);
  return findInBlock(block, name, at, length);
}

function findInBlock(block: RawDirBlock, name: Uint8Array, at: number, length: number): number {
  let low = 0;
  let high = block.count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const order = block.compare(middle, name, at, length);
    if (order === 0) return block.nid(middle);
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
