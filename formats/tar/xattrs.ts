import { type ByteString, FormatError } from "../bytes/index.ts";
import type { Xattr } from "../tree/index.ts";
import { NO_XATTRS } from "./entry.ts";
import type { TarLimits } from "./limits.ts";

const SCHILY = "SCHILY.xattr.";
const LIBARCHIVE = "LIBARCHIVE.xattr.";
const SELINUX = "RHT.security.selinux";

/** The records of one attribute, under the name as the keywords spell it. */
interface Spelled {
  schily: ByteString | null;
  libarchive: ByteString | null;
  /** Where the first value stands in the archive, in bytes. */
  readonly at: number;
}

/**
 * Extended attributes in PAX records:
 *
 * | keyword               | written by                | value                                                        |
 * |-----------------------|---------------------------|--------------------------------------------------------------|
 * | SCHILY.xattr.NAME     | star, GNU tar, Go, bsdtar | raw bytes; empty is an empty value, not a removal            |
 * | LIBARCHIVE.xattr.NAME | bsdtar                    | base64, padding optional                                     |
 * | RHT.security.selinux  | GNU tar --selinux         | of security.selinux, without the NUL that setfilecon(3) adds |
 *
 * When several forms name one attribute, the one further up counts, whatever their order. GNU tar writes `%` and `=` in
 * a NAME as %25 and %3D. bsdtar escapes more bytes, in both its records: where there is a LIBARCHIVE record of a NAME,
 * every %XX in it is decoded, else only GNU tar's two, so that other writers' names stay as they are.
 */
export class XattrRecords {
  readonly #limits: TarLimits;
  readonly #spelled = new Map<ByteString, Spelled>();
  #selinux: ByteString | null = null;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  /** Whether the PAX keyword is one of the above. */
  static concerns(key: ByteString): boolean {
    return key.startsWith(SCHILY) || key.startsWith(LIBARCHIVE) || key === SELINUX;
  }

  /** Number of attributes. */
  get size(): number {
    return this.#spelled.size + (this.#selinux === null ? 0 : 1);
  }

  /**
   * Takes one record.
   * @param at the value's place in the archive, in bytes
   * @throws FormatError ERR_BAD_VALUE for a value over its limit, or what is not base64
   */
  add(key: ByteString, value: ByteString, at: number): void {
    const isBase64 = key.startsWith(LIBARCHIVE);
    const bytes = isBase64 ? fromBase64(value, at) : value;
    const { xattrValueBytes } = this.#limits;
    if (bytes.length > xattrValueBytes)
      throw bad("value", at, `has ${bytes.length} bytes, the limit is ${xattrValueBytes}`);
    if (isBase64) this.#named(key.slice(LIBARCHIVE.length), at).libarchive = bytes;
    else if (key === SELINUX) this.#selinux = `${bytes}\0`;
    else this.#named(key.slice(SCHILY.length), at).schily = bytes;
  }

  #named(name: ByteString, at: number): Spelled {
    let spelled = this.#spelled.get(name);
    if (spelled === undefined) {
      spelled = { schily: null, libarchive: null, at };
      this.#spelled.set(name, spelled);
    }
    return spelled;
  }

  /**
   * The attributes sorted by name; those of `below` are added where this has none of their name.
   * @throws FormatError ERR_BAD_VALUE for names outside their limits
   */
  sorted(below: XattrRecords | null): readonly Xattr[] {
    const values = new Map<ByteString, ByteString>();
    if (below !== null) below.#addTo(values);
    this.#addTo(values);
    const xattrs = Array.from(values, ([name, value]): Xattr => ({ name, value }));
    return xattrs.length > 1 ? xattrs.sort((a, b) => (a.name < b.name ? -1 : 1)) : xattrs;
  }

  #addTo(values: Map<ByteString, ByteString>): void {
    if (this.#selinux !== null) values.set("security.selinux", this.#selinux);
    let listBytes = 0;
    for (const [name, { schily, libarchive, at }] of this.#spelled) {
      const decoded = libarchive === null ? decodeGnu(name) : decodeAll(name);
      this.#checkName(decoded, at);
      listBytes += decoded.length + 1;
      if (listBytes > this.#limits.xattrListBytes)
        throw bad("names", at, `add up to ${listBytes} bytes, the limit is ${this.#limits.xattrListBytes}`);
      if (schily === null) values.set(decoded, libarchive!);
    }
    for (const [name, { schily, libarchive }] of this.#spelled)
      if (schily !== null) values.set(libarchive === null ? decodeGnu(name) : decodeAll(name), schily);
  }

  #checkName(name: ByteString, at: number): void {
    const { xattrNameBytes } = this.#limits;
    if (name === "" || name.includes("\0")) throw bad("name", at, "is empty or contains a NUL");
    if (name.length > xattrNameBytes) throw bad("name", at, `has ${name.length} bytes, the limit is ${xattrNameBytes}`);
  }
}

/** The attributes of an entry whose `x` header said `local` and whose archive's `g` headers said `global`. */
export function mergeXattrs(local: XattrRecords | null, global: XattrRecords | null): readonly Xattr[] {
  return local?.sorted(global) ?? global?.sorted(null) ?? NO_XATTRS;
}

function decodeGnu(name: ByteString): ByteString {
  return name.includes("%") ? name.replace(/%25|%3D/g, (code) => (code === "%25" ? "%" : "=")) : name;
}

function decodeAll(name: ByteString): ByteString {
  if (!name.includes("%")) return name;
  return name.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function fromBase64(text: ByteString, at: number): ByteString {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw bad("value", at, "is not base64");
  return Buffer.from(text, "base64").toString("latin1");
}

function bad(what: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", `pax header xattr ${what}`, at, detail);
}
