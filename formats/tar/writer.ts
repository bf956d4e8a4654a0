import { isUtf8 as isUtf8Bytes } from "node:buffer";
import { type ByteString, toBytes } from "../bytes/index.ts";
import type { EntrySink, EntryType, TarEntry } from "./entry.ts";
import { BLOCK, UstarHeader } from "./header.ts";

const AT = UstarHeader.at;
const TYPEFLAGS: Readonly<Record<EntryType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};
/** Largest values of the octal fields: 7 digits for owners and devices, 11 for sizes and times. */
const OCTAL_7 = 0o7777777;
const OCTAL_11 = 0o77777777777;
const ZEROS = new Uint8Array(BLOCK);
/** Bytes of a header's `name` and `linkname`. */
const NAME_BYTES = 100;

/**
 * Writes a tar archive, entry by entry: ustar headers (POSIX.1-2017, pax, "ustar Interchange Format"), with a PAX header
 * before an entry that has something ustar has no room for: long or non-ASCII paths, large numbers, fractions of
 * seconds, times before 1970, extended attributes (SCHILY.xattr.*). The same entries give the same bytes.
 *
 * It is an EntrySink, so whatever feeds a reader's consumer feeds it too. Sparse entries are not written.
 *
 * @example
 * const writer = new TarWriter((bytes, start, end) => gzip.add(bytes, start, end));
 * await walkDirectory(path, writer);
 * writer.finish();
 */
export class TarWriter implements EntrySink {
  readonly #output: (bytes: Uint8Array, start: number, end: number) => void;
  /** Data bytes that the current entry still wants. */
  #left = 0;
  #padding = 0;
  /** Bytes written so far. */
  bytesWritten = 0;

  /** @param output takes `bytes[start..end)`, which are only valid during the call. */
  constructor(output: (bytes: Uint8Array, start: number, end: number) => void) {
    this.#output = output;
  }

  /** @throws RangeError for an entry that no Linux file system has, is sparse or out of order: the caller's mistake */
  entry(entry: TarEntry): void {
    if (this.#left > 0 || entry.sparse !== null) throw new RangeError("tar writer: entry out of order, or sparse");
    if (entry.devMajor > OCTAL_7 || entry.devMinor > OCTAL_7)
      throw new RangeError(`tar writer: device ${entry.devMajor}:${entry.devMinor}, expected at most 21 bits`);
    const records = paxRecords(entry);
    if (records.length > 0) this.#pax(records);
    this.#write(ustarHeader(entry));
    this.#left = entry.size;
    this.#padding = -entry.size & (BLOCK - 1);
  }

  /** @throws RangeError for more bytes than the entry's size */
  data(bytes: Uint8Array, start: number, end: number): void {
    this.#left -= end - start;
    if (this.#left < 0) throw new RangeError(`tar writer: ${-this.#left} bytes more than the entry's size`);
    this.bytesWritten += end - start;
    this.#output(bytes, start, end);
  }

  /** @throws RangeError for fewer bytes than the entry's size */
  endEntry(): void {
    if (this.#left > 0) throw new RangeError(`tar writer: ${this.#left} bytes less than the entry's size`);
    if (this.#padding > 0) this.#write(ZEROS, this.#padding);
    this.#padding = 0;
  }

  /** Ends the archive: two blocks of zeros. */
  finish(): void {
    this.#write(ZEROS);
    this.#write(ZEROS);
  }

  #pax(records: Buffer): void {
    const header = emptyHeader();
    putText(header, AT.name, "PaxHeaders/0", NAME_BYTES);
    putOctal(header, AT.mode, 0o644, 7);
    putOctal(header, AT.size, records.length, 11);
    this.#write(seal(header, "x"));
    this.#write(records);
    const padding = -records.length & (BLOCK - 1);
    if (padding > 0) this.#write(ZEROS, padding);
  }

  #write(bytes: Uint8Array, length = bytes.length): void {
    this.bytesWritten += length;
    this.#output(bytes, 0, length);
  }
}

function ustarHeader(entry: TarEntry): Buffer {
  const header = emptyHeader();
  putText(header, AT.name, entry.path, NAME_BYTES);
  putOctal(header, AT.mode, entry.mode, 7);
  putOctal(header, AT.uid, fits(entry.uid, OCTAL_7), 7);
  putOctal(header, AT.gid, fits(entry.gid, OCTAL_7), 7);
  putOctal(header, AT.size, fits(entry.size, OCTAL_11), 11);
  putOctal(header, AT.mtime, fits(entry.mtimeSeconds, OCTAL_11), 11);
  putText(header, AT.linkname, entry.linkPath, NAME_BYTES);
  // Linux has 12 bits for the major number and 20 for the minor one.
  putOctal(header, AT.devmajor, entry.devMajor, 7);
  putOctal(header, AT.devminor, entry.devMinor, 7);
  return seal(header, TYPEFLAGS[entry.type]);
}

/** What ustar has no room for, as PAX records sorted by keyword. */
function paxRecords(entry: TarEntry): Buffer {
  const records: [ByteString, ByteString][] = [];
  // Bytes that are no UTF-8: without this bsdtar and Python would try to read them as such.
  if (!isUtf8(entry.path) || !isUtf8(entry.linkPath)) records.push(["hdrcharset", "BINARY"]);
  if (needsPax(entry.path)) records.push(["path", entry.path]);
  if (needsPax(entry.linkPath)) records.push(["linkpath", entry.linkPath]);
  if (entry.uid > OCTAL_7) records.push(["uid", `${entry.uid}`]);
  if (entry.gid > OCTAL_7) records.push(["gid", `${entry.gid}`]);
  if (entry.size > OCTAL_11) records.push(["size", `${entry.size}`]);
  if (entry.mtimeNanos !== 0 || entry.mtimeSeconds < 0 || entry.mtimeSeconds > OCTAL_11)
    records.push(["mtime", paxTime(entry.mtimeSeconds, entry.mtimeNanos)]);
  for (const { name, value } of entry.xattrs) records.push([`SCHILY.xattr.${escapeName(name)}`, value]);
  records.sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
}

function needsPax(path: ByteString): boolean {
  return path.length > NAME_BYTES || !isAscii(path);
}

function isAscii(text: ByteString): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII is what is asked.
  return /^[\x01-\x7f]*$/.test(text);
}

function isUtf8(text: ByteString): boolean {
  return isAscii(text) || isUtf8Bytes(toBytes(text));
}

/** GNU tar's escapes: a keyword ends at its first `=`. */
function escapeName(name: ByteString): ByteString {
  return name.replaceAll("%", "%25").replaceAll("=", "%3D");
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits. */
function paxRecord(key: ByteString, value: ByteString): Buffer {
  const body = key.length + value.length + 3;
  let length = body + 1;
  while (String(length).length + body !== length) length = String(length).length + body;
  return Buffer.from(toBytes(`${length} ${key}=${value}\n`));
}

/** Seconds rounded down and nanoseconds forward as PAX has them: half a second before 1970 is `-0.5`. */
function paxTime(seconds: number, nanos: number): string {
  const negative = seconds < 0;
  const whole = negative && nanos > 0 ? -(seconds + 1) : Math.abs(seconds);
  const rest = negative && nanos > 0 ? 1_000_000_000 - nanos : nanos;
  const fraction = rest === 0 ? "" : `.${String(rest).padStart(9, "0").replace(/0+$/, "")}`;
  return `${negative ? "-" : ""}${whole}${fraction}`;
}

/** A value whose PAX record counts instead is 0 in the header. */
function fits(value: number, max: number): number {
  return value >= 0 && value <= max ? value : 0;
}

function emptyHeader(): Buffer {
  return Buffer.alloc(BLOCK);
}

function putText(header: Buffer, at: number, text: ByteString, bytes: number): void {
  header.write(text.length > bytes ? text.slice(0, bytes) : text, at, "latin1");
}

/** `digits` octal digits; the NUL that ends them is there already. */
function putOctal(header: Buffer, at: number, value: number, digits: number): void {
  header.write(value.toString(8).padStart(digits, "0"), at, "latin1");
}

/** Magic, type and checksum. */
function seal(header: Buffer, typeflag: string): Buffer {
  header.write("ustar\u000000", AT.magic, "latin1");
  header.write(typeflag, AT.typeflag, "latin1");
  header.fill(0x20, AT.chksum, AT.chksum + 8);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, AT.chksum, "latin1");
  return header;
}
