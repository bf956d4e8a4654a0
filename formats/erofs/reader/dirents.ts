import { type ByteString, FormatError, getU53 } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import { Dirent, NAME_LEN } from "../format.ts";
import { flatBlockOffset } from "./flat.ts";
import type { Image } from "./image.ts";
import type { ErofsInode } from "./inode.ts";
import type { Page } from "./pages.ts";

/** An entry of a directory. */
export interface DirEntry {
  readonly name: ByteString;
  readonly nid: number;
  /** FT_… of the entry. */
  readonly fileType: number;
}

/** Number of blocks of a directory. */
export function dirBlockCount(dir: ErofsInode): number {
  return Math.ceil(dir.size / BLOCK_SIZE);
}

/**
 * One directory block, meant to be loaded again and again:
 *
 * ```
 *   0          12         24                nameOff[0]        nameOff[1]            length
 *   +----------+----------+- - - - +--------+-----------------+------------- - - - -+
 *   | dirent 0 | dirent 1 |        | n - 1  | name 0          | name 1              |
 *   +----------+----------+- - - - +--------+-----------------+------------- - - - -+
 * ```
 * nameOff[0] tells the number of entries; a name ends where the next one starts, the last one at a zero or the end.
 */
export class DirBlock {
  /** Number of entries. */
  count = 0;
  /** Byte offset of the block in the image. */
  offset = 0;
  /** Bytes used. */
  length = 0;
  #page: Page = NO_PAGE;
  #at = 0;
  #namesStart = 0;
  /** All names of the block, and what follows them. */
  #names: ByteString = "";
  /** Where the last name ends. */
  #namesEnd = 0;

  /** Loads block `index` of a directory. @throws FormatError */
  load(image: Image, dir: ErofsInode, index: number): this {
    this.length = Math.min(BLOCK_SIZE, dir.size - index * BLOCK_SIZE);
    this.offset = flatBlockOffset(dir, index);
    const page = image.pages.at(this.offset, this.length);
    const at = this.offset - page.start;
    if (this.length < Dirent.size)
      throw this.#bad(0, "nameOff", `the directory block has ${this.length} bytes, a dirent takes 12`);
    const namesStart = page.dv.getUint16(at + Dirent.at.nameOff, true);
    if (namesStart < Dirent.size || namesStart >= this.length || namesStart % Dirent.size !== 0)
      throw this.#bad(0, "nameOff", `found ${namesStart}, expected a multiple of 12 from 12 to ${this.length - 1}`);
    this.#page = page;
    this.#at = at;
    this.#namesStart = namesStart;
    this.count = namesStart / Dirent.size;
    this.#names = page.bytes.toString("latin1", at + namesStart, at + this.length);
    this.#findEnd();
    return this;
  }

  /** The name of entry `i`. @throws FormatError */
  name(i: number): ByteString {
    const start = this.#nameOff(i) - this.#namesStart;
    const end = i + 1 < this.count ? this.#nameOff(i + 1) - this.#namesStart : this.#namesEnd;
    if (start < 0 || end > this.#namesEnd || end <= start || end - start > NAME_LEN)
      throw this.#bad(i, "nameOff", `the name takes ${end - start} bytes from ${start} of ${this.#namesEnd}`);
    return this.#names.substring(start, end);
  }

  /** The NID of entry `i`. @throws FormatError */
  nid(i: number): number {
    return getU53(this.#page.dv, this.#at + i * Dirent.size + Dirent.at.nid, "erofs_dirent.nid");
  }

  fileType(i: number): number {
    return this.#page.dv.getUint8(this.#at + i * Dirent.size + Dirent.at.fileType);
  }

  reserved(i: number): number {
    return this.#page.dv.getUint8(this.#at + i * Dirent.size + Dirent.at.reserved);
  }

  /** Byte offset of entry `i` in the image. */
  direntOffset(i: number): number {
    return this.offset + i * Dirent.size;
  }

  /** Whether the bytes after the last name are all zero. */
  get isPaddingZero(): boolean {
    for (let i = this.#namesEnd; i < this.#names.length; i++) if (this.#names.charCodeAt(i) !== 0) return false;
    return true;
  }

  #nameOff(i: number): number {
    return this.#page.dv.getUint16(this.#at + i * Dirent.size + Dirent.at.nameOff, true);
  }

  /** Finds the end of the last name, and so that no name holds a zero or a slash. */
  #findEnd(): void {
    const lastStart = this.#nameOff(this.count - 1) - this.#namesStart;
    const zero = this.#names.indexOf("\0");
    this.#namesEnd = zero === -1 ? this.#names.length : zero;
    if (zero !== -1 && zero <= lastStart)
      throw this.#bad(0, "nameOff", `a zero byte ${this.#namesStart + zero} bytes into the block, amid the names`);
    const slash = this.#names.indexOf("/");
    if (slash !== -1 && slash < this.#namesEnd)
      throw this.#bad(0, "nameOff", `a slash ${this.#namesStart + slash} bytes into the block, amid the names`);
  }

  #bad(i: number, field: keyof typeof Dirent.at, detail: string): FormatError {
    return new FormatError("ERR_BAD_VALUE", `erofs_dirent.${field}`, this.direntOffset(i) + Dirent.at[field], detail);
  }
}

const NO_PAGE: Page = { bytes: Buffer.alloc(0), dv: new DataView(new ArrayBuffer(0)), start: 0 };

/**
 * The entry `name` of a directory, found as the kernel does: by halving over the blocks, then inside one.
 * @throws FormatError
 */
export function lookupEntry(image: Image, dir: ErofsInode, name: ByteString): DirEntry | undefined {
  const block = new DirBlock();
  let low = 0;
  let high = dirBlockCount(dir) - 1;
  while (low <= high) {
    const middle = low + Math.floor((high - low) / 2);
    block.load(image, dir, middle);
    if (name < block.name(0)) {
      high = middle - 1;
      continue;
    }
    const found = findInBlock(block, name);
    if (found !== undefined || middle === high) return found;
    if (name < block.name(block.count - 1)) return undefined;
    low = middle + 1;
  }
  return undefined;
}

function findInBlock(block: DirBlock, name: ByteString): DirEntry | undefined {
  let low = 0;
  let high = block.count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const candidate = block.name(middle);
    if (candidate === name) return { name, nid: block.nid(middle), fileType: block.fileType(middle) };
    if (candidate < name) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}

/** The entries of a directory in order, `.` and `..` among them. @throws FormatError */
export function* directoryEntries(image: Image, dir: ErofsInode): Generator<DirEntry, void, undefined> {
  const block = new DirBlock();
  const blocks = dirBlockCount(dir);
  let previous = "";
  for (let b = 0; b < blocks; b++) {
    block.load(image, dir, b);
    for (let i = 0; i < block.count; i++) {
      const name = block.name(i);
      requireOrder(previous, name, block.direntOffset(i));
      previous = name;
      yield { name, nid: block.nid(i), fileType: block.fileType(i) };
    }
  }
}

/** @throws FormatError unless `name` comes after `previous` in byte order. */
export function requireOrder(previous: ByteString, name: ByteString, offset: number): void {
  if (previous < name) return;
  throw new FormatError(
    "ERR_BAD_VALUE",
    "erofs_dirent name",
    offset,
    previous === name ? "the name comes twice" : "the name is out of byte order",
  );
}
