import { type ByteString, FormatError } from "../bytes/index.ts";
import { type EntryType, NO_XATTRS, type TarEntry } from "./entry.ts";
import { HeaderFields } from "./header.ts";
import type { TarLimits } from "./limits.ts";
import { effective, PaxRecords, parsePax } from "./pax.ts";
import { addContinuationEntries, addHeaderEntries, LeadingMap, oldGnuRealSize, SparseMap } from "./sparse.ts";
import { TYPE_D } from "./typeflags.ts";
import { mergeXattrs } from "./xattrs.ts";

const SLASH = 0x2f;

/**
 * Everything that the headers in front of a member's data say, gathered block by block and put together in `entry()`.
 * One object serves all members of an archive; what `g` headers say stays.
 */
export class Member {
  /** The member's own header. Its size field is the number of bytes stored in the archive, PAX size already applied. */
  readonly header = new HeaderFields();
  /** Where the first of the member's headers starts in the archive, in bytes; -1 before there is one. */
  firstHeader = -1;
  /** From GNU L and K headers; "" without. */
  longPath: ByteString = "";
  longLink: ByteString = "";
  readonly #limits: TarLimits;
  #local: PaxRecords | null = null;
  #global: PaxRecords | null = null;
  #map: SparseMap | null = null;
  #realSize = 0;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  /** Forgets what belonged to one member. */
  reset(): void {
    this.firstHeader = -1;
    this.longPath = "";
    this.longLink = "";
    this.#local = null;
    this.#map = null;
  }

  /** An `x` header replaces an earlier one for the same member, also when it is empty. */
  dropLocalPax(): void {
    this.#local = null;
  }

  /** The body of an `x` header. */
  localPax(bytes: Buffer, start: number, end: number, at: number): void {
    this.#local = new PaxRecords();
    parsePax(bytes, start, end, at, this.#limits, this.#local);
  }

  /** The body of a `g` header; its records count for all members that follow. */
  globalPax(bytes: Buffer, start: number, end: number, at: number): void {
    this.#global ??= new PaxRecords();
    parsePax(bytes, start, end, at, this.#limits, this.#global);
    if (this.#global.sparse !== null)
      throw new FormatError("ERR_UNSUPPORTED", "pax header GNU.sparse", at, "found in a global header");
    const xattrs = this.#global.xattrs?.size ?? 0;
    if (xattrs > this.#limits.globalXattrs) {
      const found = `global headers give ${xattrs} attributes, the limit is ${this.#limits.globalXattrs}`;
      throw new FormatError("ERR_BAD_VALUE", "pax header xattr", at, found);
    }
  }

  /** Applies PAX size, which everything about the member's data depends on. */
  applySize(): void {
    this.header.size = effective(this.#local?.size, this.#global?.size) ?? this.header.size;
  }

  /** Opens the sparse map of the type S header at `p`; true when a continuation block follows. */
  openOldSparse(block: Uint8Array, p: number, at: number): boolean {
    if (this.header.format !== "gnu")
      throw new FormatError("ERR_UNSUPPORTED", "tar header.magic", at, "type S in a header that is not GNU's");
    this.#realSize = oldGnuRealSize(block, p, at);
    this.#map = new SparseMap(this.#realSize, this.#limits);
    return addHeaderEntries(block, p, at, this.#map);
  }

  /** Adds a continuation block's map entries; true when another one follows. */
  continueOldSparse(block: Uint8Array, p: number, at: number): boolean {
    return addContinuationEntries(block, p, at, this.#map!);
  }

  /** Opens the map that the PAX records describe, if any. Not null: the rest of it stands in front of the data. */
  openPaxSparse(kind: EntryType): LeadingMap | null {
    const sparse = this.#local?.sparse ?? null;
    if (sparse === null) return null;
    if (kind !== "file")
      throw new FormatError("ERR_BAD_VALUE", "pax header GNU.sparse", this.firstHeader, `found for a ${kind}`);
    const { map, realSize } = sparse.open(this.firstHeader);
    this.#map = map;
    this.#realSize = realSize;
    if (sparse.name !== null) this.#local!.path = sparse.name;
    return sparse.leadsData ? new LeadingMap(map) : null;
  }

  /** Whether the header's data is a GNU incremental directory's list of names. */
  get isDumpDirectory(): boolean {
    return this.header.typeflag === TYPE_D;
  }

  /**
   * The entry.
   *
   * @param stored bytes of file data in the archive, maps not counted
   * @param at for errors of a sparse map that now is complete
   */
  entry(kind: EntryType, stored: number, at: number): TarEntry {
    const { header } = this;
    const local = this.#local;
    const global = this.#global;
    const hasPax = local !== null || global !== null;
    const mtime = hasPax ? effective(local?.mtime, global?.mtime) : undefined;
    const path = this.longPath || (effective(local?.path, global?.path) ?? header.path);
    const type = this.#isOldDirectory(path) ? "directory" : kind;
    const sparse = this.#map === null ? null : this.#map.finish(stored, at);
    const size = sparse === null ? stored : this.#realSize;
    return {
      type,
      path,
      linkPath: type === "hardlink" || type === "symlink" ? this.#link() : "",
      mode: header.mode,
      uid: effective(local?.uid, global?.uid) ?? header.uid,
      gid: effective(local?.gid, global?.gid) ?? header.gid,
      size: type === "file" ? size : 0,
      mtimeSeconds: mtime === undefined ? header.mtime : mtime.seconds,
      mtimeNanos: mtime === undefined ? 0 : mtime.nanos,
      devMajor: header.devMajor,
      devMinor: header.devMinor,
      xattrs: hasPax ? mergeXattrs(local?.xattrs ?? null, global?.xattrs ?? null) : NO_XATTRS,
      sparse: type === "file" ? sparse : null,
      headerOffset: this.firstHeader,
    };
  }

  /** v7 has no typeflag for directories: their names end with a slash. */
  #isOldDirectory(path: ByteString): boolean {
    return this.header.typeflag === 0 && path.charCodeAt(path.length - 1) === SLASH;
  }

  #link(): ByteString {
    return this.longLink || (effective(this.#local?.linkPath, this.#global?.linkPath) ?? this.header.linkPath);
  }
}
