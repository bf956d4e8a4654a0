import { type ByteString, escapeBytes, mapKey } from "../../bytes/index.ts";
import type { Xattr } from "../../tree/index.ts";
import { XattrEntry as EntryHeader, XATTR_PREFIXES, XattrIbodyHeader } from "../format.ts";
import { putBytes } from "./bytes.ts";
import { ErofsWriteError } from "./errors.ts";
import type { Item } from "./plan.ts";

/** One attribute as it lies on disk; equal attributes of several inodes are one object. */
export interface XattrEntry {
  readonly nameIndex: number;
  /** The name without the prefix that `nameIndex` stands for. */
  readonly suffix: ByteString;
  readonly value: ByteString;
  /** Bytes on disk: header, suffix, value, padding to 4. */
  readonly bytes: number;
  /** How many inodes have it: from 2 on it lies in the shared area. */
  uses: number;
  /** Place in the shared area, in bytes from its start. */
  sharedOffset: number;
}

/** Linux XATTR_NAME_MAX: longer names cannot be asked for. */
const MAX_NAME_BYTES = 255;
/** e_value_size is 16 bits wide. */
const MAX_VALUE_BYTES = 0xffff;
/** h_shared_count is 8 bits wide; what is more goes inline. */
const MAX_SHARED = 0xff;
/** i_xattr_icount is 16 bits wide and counts 4-byte units, the header as one. */
const MAX_BODY_BYTES = XattrIbodyHeader.size + 4 * (0xffff - 1);

/** The attributes of all inodes: equal ones are found while items are added, then laid out by `finish`. */
export class XattrPlan {
  readonly #byName = new Map<ByteString, Map<string, XattrEntry>>();
  readonly #owners: Item[] = [];

  /**
   * Gives an item its entries.
   * @throws ErofsWriteError for a name without a known prefix, and past the format's limits
   */
  add(item: Item): void {
    this.#owners.push(item);
    item.xattrs = item.inode.xattrs.map((xattr) => this.#intern(xattr, item));
  }

  /**
   * Lays out the shared area, and gives each item the size of its xattr body.
   * @returns the shared entries in the order of their offsets, and the area's size in bytes
   * @throws ErofsWriteError when an inode has more than the format holds
   */
  finish(): { shared: readonly XattrEntry[]; sharedBytes: number } {
    const shared: XattrEntry[] = [];
    let sharedBytes = 0;
    for (const item of this.#owners)
      for (const entry of item.xattrs) {
        if (entry.uses < 2 || entry.sharedOffset >= 0) continue;
        entry.sharedOffset = sharedBytes;
        sharedBytes += entry.bytes;
        shared.push(entry);
      }
    for (const item of this.#owners) item.xattrBytes = bodyBytes(item);
    return { shared, sharedBytes };
  }

  #intern(xattr: Xattr, item: Item): XattrEntry {
    let byValue = this.#byName.get(xattr.name);
    if (byValue === undefined) {
      byValue = new Map();
      this.#byName.set(xattr.name, byValue);
    }
    const key = mapKey(xattr.value);
    let entry = byValue.get(key);
    if (entry === undefined) {
      entry = newEntry(xattr, item);
      byValue.set(key, entry);
    }
    entry.uses++;
    return entry;
  }
}

function newEntry({ name, value }: Xattr, item: Item): XattrEntry {
  const match = XATTR_PREFIXES.find((p) => (p.whole ? name === p.prefix : name.startsWith(p.prefix)));
  const shown = escapeBytes(name.slice(0, MAX_NAME_BYTES));
  if (match === undefined)
    throw new ErofsWriteError("ERR_UNSUPPORTED", item.path, `xattr ${shown} has no prefix that the format knows`);
  const suffix = name.slice(match.prefix.length);
  if ((suffix === "") !== match.whole || suffix.includes("\0"))
    throw new ErofsWriteError("ERR_UNSUPPORTED", item.path, `xattr ${shown} is no valid name`);
  if (name.length > MAX_NAME_BYTES)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      item.path,
      `an xattr name has ${name.length} bytes, at most ${MAX_NAME_BYTES} are possible: ${shown}…`,
    );
  if (value.length > MAX_VALUE_BYTES)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      item.path,
      `xattr ${shown} has ${value.length} bytes, the format holds ${MAX_VALUE_BYTES}`,
    );
  const bytes = (EntryHeader.size + suffix.length + value.length + 3) & ~3;
  return { nameIndex: match.index, suffix, value, bytes, uses: 0, sharedOffset: -1 };
}

function bodyBytes(item: Item): number {
  let sharedCount = 0;
  let inlineBytes = 0;
  for (const entry of item.xattrs)
    if (entry.sharedOffset >= 0 && sharedCount < MAX_SHARED) sharedCount++;
    else inlineBytes += entry.bytes;
  const bytes = XattrIbodyHeader.size + 4 * sharedCount + inlineBytes;
  if (bytes > MAX_BODY_BYTES)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      item.path,
      `${item.xattrs.length} xattrs need ${bytes} bytes, the format holds ${MAX_BODY_BYTES}`,
    );
  return bytes;
}

/** i_xattr_icount for a body of that many bytes. */
export function xattrIcount(bodyBytes: number): number {
  return bodyBytes === 0 ? 0 : (bodyBytes - XattrIbodyHeader.size) / 4 + 1;
}

/** Writes the shared area at `start`. */
export function writeShared(meta: Buffer, shared: readonly XattrEntry[], start: number): void {
  for (const entry of shared) writeEntry(meta, entry, start + entry.sharedOffset);
}

/**
 * Writes an item's xattr body at `at`.
 * @param sharedBase where the shared area starts, in bytes from the block that xattrBlkAddr names: ids count from there
 */
export function writeXattrs(meta: Buffer, item: Item, at: number, sharedBase: number): void {
  let id = at + XattrIbodyHeader.size;
  let sharedCount = 0;
  for (const entry of item.xattrs) {
    if (entry.sharedOffset < 0 || sharedCount === MAX_SHARED) continue;
    meta.writeUInt32LE((sharedBase + entry.sharedOffset) / 4, id);
    id += 4;
    sharedCount++;
  }
  meta[at + XattrIbodyHeader.at.sharedCount] = sharedCount;
  let skip = sharedCount;
  for (const entry of item.xattrs) {
    if (entry.sharedOffset >= 0 && skip > 0) skip--;
    else {
      writeEntry(meta, entry, id);
      id += entry.bytes;
    }
  }
}

function writeEntry(meta: Buffer, entry: XattrEntry, at: number): void {
  meta[at + EntryHeader.at.nameLen] = entry.suffix.length;
  meta[at + EntryHeader.at.nameIndex] = entry.nameIndex;
  meta.writeUInt16LE(entry.value.length, at + EntryHeader.at.valueSize);
  putBytes(meta, entry.suffix, at + EntryHeader.size);
  putBytes(meta, entry.value, at + EntryHeader.size + entry.suffix.length);
}
