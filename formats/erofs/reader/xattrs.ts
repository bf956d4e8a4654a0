import { type ByteString, FormatError } from "../../bytes/index.ts";
import type { Xattr } from "../../tree/index.ts";
import { XattrEntry, XattrIbodyHeader } from "../format.ts";
import type { Budget, Image } from "./image.ts";
import type { ErofsInode } from "./inode.ts";
import { xattrName } from "./xattr-names.ts";

/** An xattr and the bytes that its entry takes. */
interface Entry {
  /** Null for padding: mkfs.erofs --root-xattr-isize fills up with entries of index 0 and no name. */
  readonly xattr: Xattr | null;
  readonly bytes: number;
}

/** Equal xattr bodies decoded once: bodies remembered, so that a long-lived reader stays small. */
const MAX_BODIES = 4096;
const MAX_BODY_BYTES = 512;

/** Decodes xattrs; remembers shared entries and whole bodies, since inodes repeat them. */
export class XattrReader {
  /** Shared entries met so far, by id. */
  readonly shared = new Map<number, Entry>();
  readonly #image: Image;
  readonly #budget: Budget | null;
  readonly #bodies = new Map<ByteString, readonly Xattr[]>();

  /** @param budget Charged for every shared entry decoded; null for single look-ups. */
  constructor(image: Image, budget: Budget | null) {
    this.#image = image;
    this.#budget = budget;
  }

  /** An inode's xattrs, sorted by name. Inodes with equal ones may get the same array. @throws FormatError */
  list(inode: ErofsInode): readonly Xattr[] {
    const length = inode.xattrBytes;
    if (length === 0) return NO_XATTRS;
    const page = this.#image.pages.at(inode.xattrOffset, length);
    const at = inode.xattrOffset - page.start;
    if (length > MAX_BODY_BYTES) return this.#parse(inode);
    const body = page.bytes.toString("latin1", at, at + length);
    let xattrs = this.#bodies.get(body);
    if (xattrs === undefined) {
      xattrs = this.#parse(inode);
      if (this.#bodies.size >= MAX_BODIES) this.#bodies.clear();
      this.#bodies.set(body, xattrs);
    }
    return xattrs;
  }

  #parse(inode: ErofsInode): readonly Xattr[] {
    const start = inode.xattrOffset;
    const end = inode.tailOffset;
    const header = this.#image.pages.at(start, XattrIbodyHeader.size);
    const sharedCount = header.dv.getUint8(start - header.start + XattrIbodyHeader.at.sharedCount);
    let at = start + XattrIbodyHeader.size;
    if (at + sharedCount * 4 > end)
      throw new FormatError(
        "ERR_BAD_VALUE",
        "erofs_xattr_ibody_header.sharedCount",
        start + XattrIbodyHeader.at.sharedCount,
        `found ${sharedCount}, the body of ${end - start} bytes holds at most ${(end - at) / 4}`,
      );
    const xattrs: Xattr[] = [];
    for (let i = 0; i < sharedCount; i++, at += 4) {
      const page = this.#image.pages.at(at, 4);
      const { xattr } = this.#sharedEntry(page.dv.getUint32(at - page.start, true), at);
      if (xattr !== null) xattrs.push(xattr);
    }
    while (at < end) {
      const entry = this.#entry(at, end);
      if (entry.xattr !== null) xattrs.push(entry.xattr);
      at += entry.bytes;
    }
    return sortUnique(xattrs, start);
  }

  #sharedEntry(id: number, referenceOffset: number): Entry {
    let entry = this.shared.get(id);
    if (entry === undefined) {
      const at = this.#image.xattrStart + id * 4;
      if (at + XattrEntry.size > this.#image.pages.size)
        throw new FormatError(
          "ERR_BAD_VALUE",
          "shared xattr id",
          referenceOffset,
          `found ${id}, whose entry would lie at byte ${at} of an image of ${this.#image.pages.size} bytes`,
        );
      entry = this.#entry(at, this.#image.pages.size);
      this.#budget?.claim(entry.bytes, "erofs_xattr_entry", at);
      this.shared.set(id, entry);
    }
    return entry;
  }

  /** The entry at byte `at`, which must end by `end`. */
  #entry(at: number, end: number): Entry {
    const head = this.#image.pages.at(at, XattrEntry.size);
    const headAt = at - head.start;
    const nameLen = head.dv.getUint8(headAt + XattrEntry.at.nameLen);
    const nameIndex = head.dv.getUint8(headAt + XattrEntry.at.nameIndex);
    const valueSize = head.dv.getUint16(headAt + XattrEntry.at.valueSize, true);
    const used = XattrEntry.size + nameLen + valueSize;
    const bytes = Math.ceil(used / 4) * 4;
    if (at + bytes > end)
      throw new FormatError(
        "ERR_BAD_VALUE",
        "erofs_xattr_entry",
        at,
        `a name of ${nameLen} and a value of ${valueSize} bytes do not fit in the ${end - at} bytes left`,
      );
    if (nameIndex === 0 && nameLen === 0) return { xattr: null, bytes };
    const data = this.#image.pages.bytes(at + XattrEntry.size, nameLen + valueSize);
    const name = xattrName(this.#image.xattrPrefixes, nameIndex, data.toString("latin1", 0, nameLen), at);
    return { xattr: { name, value: data.toString("latin1", nameLen) }, bytes };
  }
}

const NO_XATTRS: readonly Xattr[] = [];

function sortUnique(xattrs: Xattr[], offset: number): readonly Xattr[] {
  if (xattrs.length < 2) return xattrs;
  xattrs.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (let i = 1; i < xattrs.length; i++)
    if (xattrs[i]!.name === xattrs[i - 1]!.name)
      throw new FormatError("ERR_BAD_VALUE", "erofs_xattr_entry", offset, "the inode has a name twice");
  return xattrs;
}
