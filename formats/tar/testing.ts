/**
 * For tests: archives put together header by header, and what a TarReader makes of them. Offsets are typed from POSIX and
 * the GNU tar manual, apart from the reader's own tables, so that the two check each other.
 */
import { type ByteString, toBytes } from "../bytes/index.ts";
import type { SparseSegment, TarEntry } from "./entry.ts";
import type { TarLimits } from "./limits.ts";
import { TarReader } from "./reader.ts";

/** A header's fields; numbers are written in octal, ByteStrings as they are. */
export interface HeaderSpec {
  name?: ByteString;
  mode?: number | ByteString;
  uid?: number | ByteString;
  gid?: number | ByteString;
  size?: number | ByteString;
  mtime?: number | ByteString;
  type?: string;
  link?: ByteString;
  /** Default "ustar". */
  magic?: "v7" | "ustar" | "gnu" | "star";
  devMajor?: number | ByteString;
  devMinor?: number | ByteString;
  prefix?: ByteString;
  /** Written over anything else, at byte offsets. */
  at?: Record<number, ByteString>;
  /** Sum the bytes as signed chars, as Sun's tar did. */
  signedSum?: boolean;
}

const MAGICS = { v7: "", ustar: "ustar\x0000", gnu: "ustar  \0", star: "ustar\x0000" };

/** One header block with a right checksum. */
export function header(spec: HeaderSpec): Buffer {
  const block = Buffer.alloc(512);
  const put = (at: number, text: ByteString) => block.write(text, at, "latin1");
  const num = (at: number, length: number, value: number | ByteString | undefined) =>
    put(at, typeof value === "string" ? value : `${(value ?? 0).toString(8).padStart(length - 1, "0")}\0`);
  const magic = spec.magic ?? "ustar";
  put(0, spec.name ?? "");
  num(100, 8, spec.mode ?? 0o644);
  num(108, 8, spec.uid);
  num(116, 8, spec.gid);
  num(124, 12, spec.size);
  num(136, 12, spec.mtime);
  put(156, spec.type ?? "0");
  put(157, spec.link ?? "");
  put(257, MAGICS[magic]);
  if (magic !== "v7") {
    num(329, 8, spec.devMajor);
    num(337, 8, spec.devMinor);
  }
  put(345, spec.prefix ?? "");
  if (magic === "star") put(508, "tar\0");
  for (const [at, text] of Object.entries(spec.at ?? {})) put(Number(at), text);
  setChecksum(block, 0, spec.signedSum);
  return block;
}

function checksum(archive: Buffer, p: number, signed: boolean): string {
  let sum = 8 * 0x20;
  for (let i = 0; i < 512; i++) {
    const byte = archive[p + i]!;
    if (i < 148 || i >= 156) sum += signed && byte > 127 ? byte - 256 : byte;
  }
  return `${sum.toString(8).padStart(6, "0")}\0 `;
}

/** Makes the checksum of the header at `p` right. */
export function setChecksum(archive: Buffer, p: number, signed = false): void {
  archive.write(checksum(archive, p, signed), p + 148, "latin1");
}

/** Whether the block at `p` is a header with a right checksum. */
export function hasChecksum(archive: Buffer, p: number): boolean {
  return archive.toString("latin1", p + 148, p + 156) === checksum(archive, p, false);
}

/** `data` padded with zeros to whole blocks. */
export function padded(data: ByteString): Buffer {
  const bytes = toBytes(data);
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** A member with data; its size field is that of the data unless the spec has one. */
export function member(spec: HeaderSpec, data: ByteString = ""): Buffer {
  return Buffer.concat([header({ size: data.length, ...spec }), padded(data)]);
}

/** One PAX record. Its length counts itself. */
export function record(key: ByteString, value: ByteString): ByteString {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

/** A PAX header with these records. */
export function pax(records: Iterable<readonly [ByteString, ByteString]>, type = "x"): Buffer {
  const body = Array.from(records, ([key, value]) => record(key, value)).join("");
  return member({ name: "PaxHeaders/x", type }, body);
}

/** A GNU long name (L) or long link (K) header. */
export function long(type: "L" | "K", path: ByteString): Buffer {
  return member({ name: "././@LongLink", type, magic: "gnu" }, `${path}\0`);
}

/** A base-256 number in a field of `length` bytes. */
export function base256(value: number, length: number): ByteString {
  let rest = BigInt(value);
  const bytes = Buffer.alloc(length);
  for (let i = length - 1; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  bytes[0]! |= 0x80;
  return bytes.toString("latin1");
}

/** 12-byte octal offset and length of each segment, as old GNU headers have them. */
function gnuMap(segments: readonly SparseSegment[]): ByteString {
  const field = (n: number) => `${n.toString(8).padStart(11, "0")}\0`;
  return segments.map((s) => field(s.offset) + field(s.length)).join("");
}

/** A type S member, with as many continuation blocks as its map takes. */
export function oldGnuSparse(
  spec: HeaderSpec,
  map: readonly SparseSegment[],
  realSize: number,
  data: ByteString,
): Buffer {
  const rest = map.slice(4);
  const blocks: Buffer[] = [];
  for (let i = 0; i < rest.length; i += 21) {
    const block = Buffer.alloc(512);
    block.write(gnuMap(rest.slice(i, i + 21)), "latin1");
    if (i + 21 < rest.length) block[504] = 1;
    blocks.push(block);
  }
  const size = `${realSize.toString(8).padStart(11, "0")}\0`;
  const at = { 386: gnuMap(map.slice(0, 4)), 482: rest.length > 0 ? "\x01" : "\0", 483: size };
  return Buffer.concat([header({ ...spec, type: "S", magic: "gnu", size: data.length, at }), ...blocks, padded(data)]);
}

export type PaxRecordList = [ByteString, ByteString][];

/** The records of a PAX sparse file, and what stands in front of its data. */
export function paxSparse(
  version: "0.0" | "0.1" | "1.0",
  name: ByteString,
  map: readonly SparseSegment[],
  realSize: number,
): { records: PaxRecordList; lead: ByteString } {
  const head: PaxRecordList = [
    ["GNU.sparse.size", `${realSize}`],
    ["GNU.sparse.numblocks", `${map.length}`],
  ];
  const pairs = map.flatMap(
    (s): PaxRecordList => [
      ["GNU.sparse.offset", `${s.offset}`],
      ["GNU.sparse.numbytes", `${s.length}`],
    ],
  );
  if (version === "0.0") return { records: [...head, ...pairs], lead: "" };
  const list = map.map((s) => `${s.offset},${s.length}`).join();
  if (version === "0.1") return { records: [...head, ["GNU.sparse.map", list], ["GNU.sparse.name", name]], lead: "" };
  const lines = `${map.length}\n${map.map((s) => `${s.offset}\n${s.length}\n`).join("")}`;
  return {
    records: [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", name],
      ["GNU.sparse.realsize", `${realSize}`],
    ],
    lead: padded(lines).toString("latin1"),
  };
}

export const END_MARK = Buffer.alloc(1024);

/** An entry with the data that came for it. */
export interface Read extends TarEntry {
  readonly data: ByteString;
}

/** What a reader makes of `archive`, pushed in pieces of the given sizes (the last one again and again). */
export function read(archive: Uint8Array, pieces: readonly number[] = [archive.length], limits?: Partial<TarLimits>) {
  const entries: Read[] = [];
  let open: TarEntry | null = null;
  let data: ByteString[] = [];
  const reader = new TarReader(
    {
      entry(entry) {
        if (open !== null) throw new Error("entry() before the endEntry() of the one before");
        open = entry;
        data = [];
      },
      data(bytes, start, end) {
        if (open?.type !== "file" || end <= start) throw new Error("data() out of turn, or empty");
        data.push(Buffer.from(bytes.subarray(start, end)).toString("latin1"));
      },
      endEntry() {
        if (open === null) throw new Error("endEntry() without entry()");
        entries.push({ ...open, data: data.join("") });
        open = null;
      },
    },
    limits,
  );
  for (let p = 0, i = 0; p < archive.length; i++) {
    const size = Math.max(1, pieces[Math.min(i, pieces.length - 1)] ?? 1);
    reader.push(archive.subarray(p, p + size));
    p += size;
  }
  reader.end();
  if (open !== null) throw new Error("end() left an entry open");
  return entries;
}

/** `read` of members followed by an end mark. */
export function readMembers(...members: Buffer[]): Read[] {
  return read(Buffer.concat([...members, END_MARK]));
}
