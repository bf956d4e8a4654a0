import { type ByteString, FormatError } from "../bytes/index.ts";
import type { TarLimits } from "./limits.ts";
import { decimal, paxTime, type Timestamp } from "./numbers.ts";
import { SparseRecords } from "./sparse-records.ts";
import { XattrRecords } from "./xattrs.ts";

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const SPARSE_PREFIX = "GNU.sparse.";
const U32_MAX = 0xffff_ffff;

/** A record's value; null when the record was empty, which takes an earlier value back; undefined when there was none. */
type Record<T> = T | null | undefined;

/**
 * The records of a PAX header (POSIX.1-2017, pax, "pax Extended Header"), as far as they say something about a file:
 * path, linkpath, size, uid, gid, mtime, GNU.sparse.*, extended attributes. The others (uname, gname, atime, ctime,
 * comment, hdrcharset, SCHILY.acl.* in their textual form, …) are passed over. Values are bytes whatever hdrcharset says.
 *
 * Within one header the last record of a name counts. An `x` header's records come before those of `g` headers.
 */
export class PaxRecords {
  path: Record<ByteString>;
  linkPath: Record<ByteString>;
  size: Record<number>;
  uid: Record<number>;
  gid: Record<number>;
  mtime: Record<Timestamp>;
  /** Null when no record was about extended attributes. */
  xattrs: XattrRecords | null = null;
  /** Null when no record was about sparse files. */
  sparse: SparseRecords | null = null;
}

/**
 * Adds the records of the PAX header body `bytes[start..end)` to `into`.
 *
 * @param at where the body starts in the archive, in bytes, for errors
 * @throws FormatError ERR_BAD_VALUE for a malformed record or a value outside its range or limit
 */
export function parsePax(
  bytes: Buffer,
  start: number,
  end: number,
  at: number,
  limits: TarLimits,
  into: PaxRecords,
): void {
  new PaxBody(bytes, at - start, limits, into).parse(start, end);
}

class PaxBody {
  readonly #bytes: Buffer;
  /** What to add to an index into #bytes to get a place in the archive. */
  readonly #toOffset: number;
  readonly #limits: TarLimits;
  readonly #into: PaxRecords;

  constructor(bytes: Buffer, toOffset: number, limits: TarLimits, into: PaxRecords) {
    this.#bytes = bytes;
    this.#toOffset = toOffset;
    this.#limits = limits;
    this.#into = into;
  }

  parse(start: number, end: number): void {
    // Some writers pad the body with NULs and count them in.
    for (let p = start; p < end && this.#bytes[p] !== 0; ) p = this.#record(p, end);
  }

  /** One record, `length keyword=value\n`, at `start`; returns where the next one starts. */
  #record(start: number, end: number): number {
    const bytes = this.#bytes;
    let p = start;
    while (p < end && bytes[p] !== SPACE && p - start < 10) p++;
    const length = decimal(bytes, start, p);
    const next = start + length;
    if (!(bytes[p] === SPACE && next > p + 1 && next <= end))
      throw this.#bad(
        "record length",
        start,
        `found ${this.#shown(start, Math.min(end, start + 10))}, ${end - start} bytes are left`,
      );
    if (bytes[next - 1] !== NEWLINE)
      throw this.#bad("record", start, `does not end with a newline after ${length} bytes`);
    const keyStart = p + 1;
    let eq = keyStart;
    while (eq < next - 1 && bytes[eq] !== EQUALS) eq++;
    if (eq === next - 1 || eq === keyStart) throw this.#bad("record", start, "has no keyword followed by =");
    this.#apply(bytes.toString("latin1", keyStart, eq), eq + 1, next - 1);
    return next;
  }

  #apply(key: ByteString, start: number, end: number): void {
    const into = this.#into;
    switch (key) {
      case "mtime":
        into.mtime = start === end ? null : this.#time(start, end);
        return;
      case "path":
        into.path = this.#path(key, start, end);
        return;
      case "linkpath":
        into.linkPath = this.#path(key, start, end);
        return;
      case "size":
        into.size = this.#number(key, start, end, Number.MAX_SAFE_INTEGER);
        return;
      case "uid":
        into.uid = this.#number(key, start, end, U32_MAX);
        return;
      case "gid":
        into.gid = this.#number(key, start, end, U32_MAX);
        return;
      case "atime":
      case "ctime":
      case "uname":
      case "gname":
        return;
      default:
        if (key.startsWith(SPARSE_PREFIX)) this.#sparse(key, start, end);
        else if (XattrRecords.concerns(key)) {
          into.xattrs ??= new XattrRecords(this.#limits);
          into.xattrs.add(key, this.#text(start, end), this.#toOffset + start);
        }
    }
  }

  #sparse(key: ByteString, start: number, end: number): void {
    const into = this.#into;
    into.sparse ??= new SparseRecords(this.#limits);
    if (key === `${SPARSE_PREFIX}name`) into.sparse.name = this.#path(key, start, end);
    else into.sparse.add(key.slice(SPARSE_PREFIX.length), this.#bytes, start, end, this.#toOffset + start);
  }

  #path(key: string, start: number, end: number): ByteString | null {
    if (start === end) return null;
    if (end - start > this.#limits.pathBytes)
      throw this.#bad(key, start, `found ${end - start} bytes, the limit is ${this.#limits.pathBytes}`);
    const path = this.#text(start, end);
    if (path.includes("\0")) throw this.#bad(key, start, "a path cannot contain a NUL");
    return path;
  }

  #number(key: string, start: number, end: number, max: number): number | null {
    if (start === end) return null;
    const value = decimal(this.#bytes, start, end);
    if (value <= max) return value;
    throw this.#bad(key, start, `found ${this.#shown(start, end)}, expected a decimal number up to ${max}`);
  }

  #time(start: number, end: number): Timestamp {
    const time = paxTime(this.#bytes, start, end);
    if (time !== null) return time;
    throw this.#bad("mtime", start, `found ${this.#shown(start, end)}, expected seconds as [-]digits[.digits]`);
  }

  #bad(key: string, start: number, detail: string): FormatError {
    return new FormatError("ERR_BAD_VALUE", `pax header ${key}`, this.#toOffset + start, detail);
  }

  /** Some of the bytes, for an error. */
  #shown(start: number, end: number): string {
    return JSON.stringify(this.#text(start, Math.min(end, start + 40)));
  }

  #text(start: number, end: number): ByteString {
    return this.#bytes.toString("latin1", start, end);
  }
}

/** The record that counts: the local one, else the global one; undefined when there is none or it was taken back. */
export function effective<T>(local: Record<T>, global: Record<T>): T | undefined {
  return (local === undefined ? global : local) ?? undefined;
}
