import { type ByteString, FormatError } from "../bytes/index.ts";
import type { Xattr } from "../tree/index.ts";
import { NO_XATTRS } from "./entry.ts";
import type { TarLimits } from "./limits.ts";

const SCHILY = "SCHILY.xattr.";
const LIBARCHIVE = "LIBARCHIVE.xattr.";
const SELINUX = "RHT.security.selinux";

/** How much a record's form is trusted when several forms name one attribute: the raw bytes first. */
const RANK_SELINUX = 0;
const RANK_LIBARCHIVE = 1;
const RANK_SCHILY = 2;

interface Ranked {
  readonly rank: number;
  readonly value: ByteString;
}

/**
 * Extended attributes in PAX records:
 *
 * | keyword                 | written by              | name                     | value                           |
 * |-------------------------|-------------------------|--------------------------|---------------------------------|
 * | SCHILY.xattr.NAME       | star, GNU tar, Go, bsdtar | NAME; %25 and %3D are  | raw bytes; empty is an empty    |
 * |                         |                         | `%` and `=`, as GNU tar  | value, not a removal            |
 * |                         |                         | writes them              |                                 |
 * | LIBARCHIVE.xattr.NAME   | bsdtar                  | NAME, every %XX decoded  | base64, padding optional        |
 * | RHT.security.selinux    | GNU tar --selinux       | security.selinux         | raw bytes; a NUL is added, as   |
 * |                         |                         |                          | setfilecon(3) stores it         |
 *
 * When several forms name one attribute, the one further up in the table counts, whatever their order; of two records
 * of the same form the later one.
 */
export class XattrRecords {
  readonly #limits: TarLimits;
  readonly #byName = new Map<ByteString, Ranked>();
  #listBytes = 0;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  /** Whether the PAX keyword is one of the above. */
  static concerns(key: ByteString): boolean {
    return key.startsWith(SCHILY) || key.startsWith(LIBARCHIVE) || key === SELINUX;
  }

  get size(): number {
    return this.#byName.size;
  }

  /**
   * Takes one record.
   * @param at the value's place in the archive, in bytes
   * @throws FormatError ERR_BAD_VALUE for a name or value outside its limit, or for what is not base64
   */
  add(key: ByteString, value: ByteString, at: number): void {
    if (key.startsWith(SCHILY)) {
      const name = key.slice(SCHILY.length).replace(/%25|%3D/g, (code) => (code === "%25" ? "%" : "="));
      this.#set(name, RANK_SCHILY, value, at);
    } else if (key.startsWith(LIBARCHIVE)) {
      const name = key
        .slice(LIBARCHIVE.length)
        .replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
      this.#set(name, RANK_LIBARCHIVE, fromBase64(value, at), at);
    } else this.#set("security.selinux", RANK_SELINUX, `${value}\0`, at);
  }

  #set(name: ByteString, rank: number, value: ByteString, at: number): void {
    const { xattrNameBytes, xattrValueBytes, xattrListBytes } = this.#limits;
    if (name === "" || name.includes("\0")) throw bad("name", at, "is empty or contains a NUL");
    if (name.length > xattrNameBytes) throw bad("name", at, `has ${name.length} bytes, the limit is ${xattrNameBytes}`);
    if (value.length > xattrValueBytes)
      throw bad("value", at, `has ${value.length} bytes, the limit is ${xattrValueBytes}`);
    const old = this.#byName.get(name);
    if (old !== undefined && old.rank > rank) return;
    if (old === undefined) this.#listBytes += name.length + 1;
    if (this.#listBytes > xattrListBytes)
      throw bad("names", at, `add up to ${this.#listBytes} bytes, the limit is ${xattrListBytes}`);
    this.#byName.set(name, { rank, value });
  }

  /** The attributes sorted by name; those of `below` are added where this has none of their name. */
  sorted(below: XattrRecords | null): readonly Xattr[] {
    const all = below === null ? this.#byName : new Map([...below.#byName, ...this.#byName]);
    const xattrs = Array.from(all, ([name, { value }]): Xattr => ({ name, value }));
    return xattrs.length > 1 ? xattrs.sort((a, b) => (a.name < b.name ? -1 : 1)) : xattrs;
  }
}

/** The attributes of an entry whose `x` header said `local` and whose archive's `g` headers said `global`. */
export function mergeXattrs(local: XattrRecords | null, global: XattrRecords | null): readonly Xattr[] {
  return local?.sorted(global) ?? global?.sorted(null) ?? NO_XATTRS;
}

function fromBase64(text: ByteString, at: number): ByteString {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw bad("value", at, "is not base64");
  return Buffer.from(text, "base64").toString("latin1");
}

function bad(what: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", `pax header xattr ${what}`, at, detail);
}
