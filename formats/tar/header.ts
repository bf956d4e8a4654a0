import { type ByteString, FormatError, struct } from "../bytes/index.ts";
import { headerNumber } from "./numbers.ts";

/** Size in bytes of a header, and the unit that file data is padded to. */
export const BLOCK = 512;

/** ustar header block. POSIX.1-2017, pax, "ustar Interchange Format"; v7 headers end after linkname. */
export const UstarHeader = struct("ustar_header", BLOCK, {
  name: "bytes100",
  mode: "bytes8",
  uid: "bytes8",
  gid: "bytes8",
  size: "bytes12",
  mtime: "bytes12",
  chksum: "bytes8",
  typeflag: "u8",
  linkname: "bytes100",
  magic: "bytes6",
  version: "bytes2",
  uname: "bytes32",
  gname: "bytes32",
  devmajor: "bytes8",
  devminor: "bytes8",
  prefix: "bytes155",
  pad: "bytes12",
});

/** What the old GNU format puts where ustar has prefix. GNU tar manual, "Basic Tar Format", struct oldgnu_header. */
export const OldGnuHeader = struct("oldgnu_header", BLOCK, {
  unused_pad1: "bytes345",
  atime: "bytes12",
  ctime: "bytes12",
  offset: "bytes12",
  longnames: "bytes4",
  unused_pad2: "bytes1",
  sp: "bytes96",
  isextended: "u8",
  realsize: "bytes12",
  unused_pad3: "bytes17",
});

/** Where star ends its shorter prefix. GNU tar manual, "Basic Tar Format", struct star_header. */
const StarHeader = struct("star_header", BLOCK, {
  unused_pad1: "bytes345",
  prefix: "bytes131",
  atime: "bytes12",
  ctime: "bytes12",
  unused_pad2: "bytes8",
  trailer: "bytes4",
});

const AT = UstarHeader.at;
const NAME = AT.name;
const MODE = AT.mode;
const UID = AT.uid;
const GID = AT.gid;
const SIZE = AT.size;
const MTIME = AT.mtime;
const CHKSUM = AT.chksum;
const TYPEFLAG = AT.typeflag;
const LINKNAME = AT.linkname;
const MAGIC = AT.magic;
const DEVMAJOR = AT.devmajor;
const DEVMINOR = AT.devminor;
const PREFIX = AT.prefix;

const U32_MAX = 0xffff_ffff;
const MAX_SIZE = Number.MAX_SAFE_INTEGER;

/** Which fields the second half of a header has, told by its magic. */
export type HeaderFormat = "v7" | "ustar" | "star" | "gnu";

/** A header's own fields, before extended headers override them. One object is filled again for every header. */
export class HeaderFields {
  path: ByteString = "";
  linkPath: ByteString = "";
  typeflag = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  size = 0;
  mtime = 0;
  devMajor = 0;
  devMinor = 0;
  format: HeaderFormat = "v7";
}

/**
 * Verifies the checksum of the block at `p`.
 *
 * @param at the block's place in the archive, in bytes, for the error
 * @returns false when the block is all zeros, the mark of the archive's end
 * @throws FormatError ERR_BAD_VALUE when neither the sum of unsigned bytes nor that of signed ones is the recorded one
 */
export function verifyChecksum(block: Uint8Array, p: number, at: number): boolean {
  let sum = sumOf(block, p);
  if (sum === 0) return false;
  const field = p + CHKSUM;
  for (let i = field; i < field + 8; i++) sum += 0x20 - block[i]!;
  const recorded = headerNumber(block, field, field + 8);
  if (recorded === sum) return true;
  // Sun's tar summed signed chars: each byte from 0x80 on counts 256 less.
  let signed = sum;
  for (let i = p; i < p + BLOCK; i++) if (block[i]! >= 0x80 && (i < field || i >= field + 8)) signed -= 256;
  if (recorded === signed) return true;
  const found = Number.isNaN(recorded) ? "no octal number" : `0${recorded.toString(8)}`;
  throw new FormatError(
    "ERR_BAD_VALUE",
    "tar header.chksum",
    at + CHKSUM,
    `found ${found}, the bytes add up to 0${sum.toString(8)}: not a tar header, or damaged`,
  );
}

/** All bytes of a block added up. Eight a turn and two sums take 0.16 µs where the plain loop takes 0.56 µs. */
function sumOf(b: Uint8Array, p: number): number {
  let even = 0;
  let odd = 0;
  for (let i = p, end = p + BLOCK; i < end; i += 8) {
    even += b[i]! + b[i + 1]! + b[i + 2]! + b[i + 3]!;
    odd += b[i + 4]! + b[i + 5]! + b[i + 6]! + b[i + 7]!;
  }
  return even + odd;
}

/** The typeflag of the block at `p`. */
export function typeflagOf(block: Uint8Array, p: number): number {
  return block[p + TYPEFLAG]!;
}

/**
 * The size field of the block at `p`, in bytes.
 * @throws FormatError ERR_BAD_VALUE
 */
export function sizeOf(block: Uint8Array, p: number, at: number): number {
  return number(block, p, SIZE, 12, "size", MAX_SIZE, at);
}

/**
 * Reads the header at `p`, whose checksum is known to be right, into `out`.
 * @throws FormatError ERR_BAD_VALUE for a field that is no number or outside its range
 */
export function readHeader(block: Buffer, p: number, at: number, out: HeaderFields): void {
  const typeflag = block[p + TYPEFLAG]!;
  out.typeflag = typeflag;
  out.mode = number(block, p, MODE, 8, "mode", MAX_SIZE, at) % 0o10000;
  out.uid = number(block, p, UID, 8, "uid", U32_MAX, at);
  out.gid = number(block, p, GID, 8, "gid", U32_MAX, at);
  out.size = number(block, p, SIZE, 12, "size", MAX_SIZE, at);
  const mtime = headerNumber(block, p + MTIME, p + MTIME + 12);
  if (Number.isNaN(mtime)) throw badNumber(block, p + MTIME, 12, "mtime", at + MTIME, "a number of seconds below 2^53");
  out.mtime = mtime;
  out.linkPath = text(block, p + LINKNAME, 100);
  const format = formatOf(block, p);
  out.format = format;
  const isDevice = (typeflag === 0x33 || typeflag === 0x34) && format !== "v7";
  out.devMajor = isDevice ? number(block, p, DEVMAJOR, 8, "devmajor", U32_MAX, at) : 0;
  out.devMinor = isDevice ? number(block, p, DEVMINOR, 8, "devminor", U32_MAX, at) : 0;
  const name = text(block, p + NAME, 100);
  const prefix = prefixOf(block, p, format);
  out.path = prefix === "" ? name : `${prefix}/${name}`;
}

/** A numeric field from 0 to `max`. */
function number(b: Uint8Array, p: number, at: number, length: number, field: string, max: number, base: number) {
  const value = headerNumber(b, p + at, p + at + length);
  if (value >= 0 && value <= max) return value;
  throw badNumber(b, p + at, length, field, base + at, `a number from 0 to ${max}`);
}

function badNumber(b: Uint8Array, p: number, length: number, field: string, at: number, expected: string) {
  const found = Buffer.from(b.subarray(p, p + length)).toString("hex");
  return new FormatError("ERR_BAD_VALUE", `tar header.${field}`, at, `found 0x${found}, expected ${expected}`);
}

/** A text field: up to its first NUL, or all of it. */
function text(block: Buffer, start: number, length: number): ByteString {
  const limit = start + length;
  let end = start;
  while (end < limit && block[end] !== 0) end++;
  return end === start ? "" : block.toString("latin1", start, end);
}

function formatOf(b: Uint8Array, p: number): HeaderFormat {
  const m = p + MAGIC;
  if (b[m] !== 0x75 || b[m + 1] !== 0x73 || b[m + 2] !== 0x74 || b[m + 3] !== 0x61 || b[m + 4] !== 0x72) return "v7";
  if (b[m + 5] === 0) return isStar(b, p + StarHeader.at.trailer) ? "star" : "ustar";
  return b[m + 5] === 0x20 && b[m + 6] === 0x20 && b[m + 7] === 0 ? "gnu" : "v7";
}

function isStar(b: Uint8Array, trailer: number): boolean {
  return b[trailer] === 0x74 && b[trailer + 1] === 0x61 && b[trailer + 2] === 0x72 && b[trailer + 3] === 0;
}

function prefixOf(block: Buffer, p: number, format: HeaderFormat): ByteString {
  if (block[p + PREFIX] === 0 || format === "v7") return "";
  if (format === "ustar") return text(block, p + PREFIX, 155);
  if (format === "star") return text(block, p + PREFIX, 131);
  return strayPrefix(block, p);
}

/**
 * Go's writer before 1.8 put a ustar prefix into GNU headers, over atime and ctime (golang/go issue 12594), and images
 * built with it are still around. So where these two are no numbers and the text is ASCII, it is a prefix, as Go's own
 * reader has it.
 */
function strayPrefix(block: Buffer, p: number): ByteString {
  const { atime, ctime } = OldGnuHeader.at;
  const isTime = (at: number) => !Number.isNaN(headerNumber(block, p + at, p + at + 12));
  if (isTime(atime) && isTime(ctime)) return "";
  const prefix = text(block, p + PREFIX, 155);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII is what is asked.
  return /^[\x01-\x7f]*$/.test(prefix) ? prefix : "";
}
