import { FormatError } from "../../bytes/index.ts";
import { XATTR_PREFIXES, XattrEntry, XattrIbodyHeader } from "../format.ts";
import type { Image } from "./image.ts";
import type { ErofsInode } from "./inode.ts";

const XATTR_LONG_PREFIX = 0x80;
const NO_BYTES = new Uint8Array(0);

/**
 * The extended attributes of an inode one after the other, as bytes: `start`, then `next` until it says no. It remembers
 * nothing of what it has read, so that no image makes it large. XattrReader decodes the same, for people.
 */
export class RawXattrs {
  /** The name is the prefix and then `nameBytes` bytes at `nameAt` of `bytes`; the value lies there too. */
  prefix: Uint8Array = NO_BYTES;
  bytes: Uint8Array = NO_BYTES;
  nameAt = 0;
  nameBytes = 0;
  valueAt = 0;
  valueBytes = 0;
  /** Byte offset of the value in the image. */
  valueOffset = 0;
  readonly #image: Image;
  /** By nameIndex; undefined for those that no image may use. */
  readonly #prefixes: (Uint8Array | undefined)[] = [];
  /** By nameIndex: names that the prefix is all of. */
  readonly #whole: boolean[] = [];
  #sharedAt = 0;
  #sharedEnd = 0;
  #at = 0;
  #end = 0;

  constructor(image: Image) {
    this.#image = image;
    for (const { index, prefix, whole } of XATTR_PREFIXES) {
      this.#prefixes[index] = Buffer.from(prefix, "latin1");
      this.#whole[index] = whole;
    }
    for (const [index, prefix] of image.xattrPrefixes.entries())
      this.#prefixes[XATTR_LONG_PREFIX | index] = Buffer.from(prefix, "latin1");
  }

  /** Goes to before the first. @throws FormatError */
  start(inode: ErofsInode): void {
    const start = inode.xattrOffset;
    this.#at = start + XattrIbodyHeader.size;
    this.#end = inode.tailOffset;
    this.#sharedAt = this.#at;
    this.#sharedEnd = this.#at;
    if (inode.xattrBytes === 0) {
      this.#at = this.#end;
      return;
    }
    const page = this.#image.pages.at(start, XattrIbodyHeader.size);
    const count = page.dv.getUint8(start - page.start + XattrIbodyHeader.at.sharedCount);
    this.#sharedEnd += count * 4;
    if (this.#sharedEnd > this.#end)
      throw new FormatError(
        "ERR_BAD_VALUE",
        "erofs_xattr_ibody_header.sharedCount",
        start + XattrIbodyHeader.at.sharedCount,
        `found ${count}, the body of ${this.#end - start} bytes holds at most ${(this.#end - this.#at) / 4}`,
      );
    this.#at = this.#sharedEnd;
  }

  /** Goes to the next one. @returns whether there is one @throws FormatError */
  next(): boolean {
    while (this.#sharedAt < this.#sharedEnd) {
      const page = this.#image.pages.at(this.#sharedAt, 4);
      const id = page.dv.getUint32(this.#sharedAt - page.start, true);
      this.#sharedAt += 4;
      this.#entry(this.#image.xattrStart + id * 4, this.#image.pages.size);
      if (!this.#isPadding) return true;
    }
    while (this.#at < this.#end) {
      this.#at = this.#entry(this.#at, this.#end);
      if (!this.#isPadding) return true;
    }
    return false;
  }

  /** Whether the current one has that name. */
  isNamed(name: Uint8Array, at: number, length: number): boolean {
    const { prefix, bytes, nameAt, nameBytes } = this;
    if (prefix.length + nameBytes !== length) return false;
    for (let i = 0; i < prefix.length; i++) if (prefix[i] !== name[at + i]) return false;
    for (let i = 0; i < nameBytes; i++) if (bytes[nameAt + i] !== name[at + prefix.length + i]) return false;
    return true;
  }

  #isPadding = false;

  /** Reads the entry at byte `at`, which must end by `end`. @returns where the next one is */
  #entry(at: number, end: number): number {
    const head = this.#image.pages.at(at, XattrEntry.size);
    const headAt = at - head.start;
    const nameBytes = head.dv.getUint8(headAt + XattrEntry.at.nameLen);
    const index = head.dv.getUint8(headAt + XattrEntry.at.nameIndex);
    const valueBytes = head.dv.getUint16(headAt + XattrEntry.at.valueSize, true);
    const used = XattrEntry.size + nameBytes + valueBytes;
    if (at + used > end)
      throw new FormatError(
        "ERR_BAD_VALUE",
        "erofs_xattr_entry",
        at,
        `a name of ${nameBytes} and a value of ${valueBytes} bytes do not fit in the ${end - at} bytes left`,
      );
    this.#isPadding = index === 0 && nameBytes === 0;
    const prefix = this.#prefixes[index];
    if (!this.#isPadding) {
      const isWhole = this.#whole[index];
      if (prefix === undefined || (isWhole !== undefined && isWhole !== (nameBytes === 0)))
        throw new FormatError("ERR_BAD_VALUE", "erofs_xattr_entry.nameIndex", at, `found ${index}, name ${nameBytes}`);
      const page = this.#image.pages.at(at, used);
      this.prefix = prefix;
      this.bytes = page.bytes;
      this.nameAt = at - page.start + XattrEntry.size;
      this.nameBytes = nameBytes;
      this.valueAt = this.nameAt + nameBytes;
      this.valueBytes = valueBytes;
      this.valueOffset = at + XattrEntry.size + nameBytes;
    }
    return at + Math.ceil(used / 4) * 4;
  }
}
