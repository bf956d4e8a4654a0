import { type ByteString, toBytes } from "../../formats/bytes/index.ts";

const BLOCK_BYTES = 512;
const ZEROS = Buffer.alloc(2 * BLOCK_BYTES);

/** One entry of a hand-made layer. Everything but the name has a default. */
export interface TarEntry {
  /** As it stands in the tar; a leading `./` or trailing `/` is kept. */
  readonly name: ByteString;
  /** typeflag: `0` file (the default), `1` hard link, `2` symlink, `3` and `4` devices, `5` directory, `6` fifo. */
  readonly type?: string;
  /** Permission bits; 0644, or 0755 for a directory. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** `seconds` or `seconds.fraction`, may be negative; 1700000000. Written to a PAX record unless it is a plain number. */
  readonly mtime?: string;
  readonly content?: Uint8Array | string;
  readonly link?: ByteString;
  readonly device?: readonly [major: number, minor: number];
  /** Extended attributes, written as `SCHILY.xattr.` records; values are bytes. */
  readonly xattrs?: Readonly<Record<ByteString, ByteString>>;
}

/** The bytes of a POSIX.1-2001 tar with these entries: PAX records where ustar has no room, two zero blocks at the end. */
export function buildTar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(encodeEntry), ZEROS]);
}

function encodeEntry(entry: TarEntry): Buffer[] {
  const content = typeof entry.content === "string" ? Buffer.from(entry.content) : (entry.content ?? new Uint8Array());
  const records = paxRecords(entry);
  return [
    ...(records.length > 0 ? encodeMember({ name: "pax", type: "x" }, records) : []),
    ...encodeMember(entry, content),
  ];
}

function encodeMember(entry: TarEntry, content: Uint8Array): Buffer[] {
  const padding = ZEROS.subarray(0, -content.length & (BLOCK_BYTES - 1));
  return [encodeHeader(entry, content.length), Buffer.from(content), padding];
}

function paxRecords(entry: TarEntry): Buffer {
  const records: [ByteString, ByteString][] = [];
  if (entry.name.length > 100) records.push(["path", entry.name]);
  if ((entry.link ?? "").length > 100) records.push(["linkpath", entry.link!]);
  if (entry.mtime !== undefined && !/^\d{1,11}$/.test(entry.mtime)) records.push(["mtime", entry.mtime]);
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) records.push([`SCHILY.xattr.${name}`, value]);
  return Buffer.concat(records.map(([key, value]) => encodeRecord(`${key}=${value}\n`)));
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
function encodeRecord(body: ByteString): Buffer {
  let length = body.length + 2;
  while (`${length} ${body}`.length !== length) length = `${length} ${body}`.length;
  return toBytes(`${length} ${body}`);
}

function encodeHeader(entry: TarEntry, size: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const put = (offset: number, value: ByteString, bytes: number) =>
    header.write(value.slice(0, bytes), offset, "latin1");
  const octal = (offset: number, value: number, bytes: number) =>
    put(offset, value.toString(8).padStart(bytes - 1, "0"), bytes - 1);
  const { type = "0" } = entry;
  put(0, entry.name, 100);
  octal(100, entry.mode ?? (type === "5" ? 0o755 : 0o644), 8);
  octal(108, entry.uid ?? 0, 8);
  octal(116, entry.gid ?? 0, 8);
  octal(124, size, 12);
  octal(136, Math.max(0, Math.floor(Number(entry.mtime ?? 1_700_000_000))), 12);
  put(148, "        ", 8);
  put(156, type, 1);
  put(157, entry.link ?? "", 100);
  put(257, "ustar\x0000", 8);
  octal(329, entry.device?.[0] ?? 0, 8);
  octal(337, entry.device?.[1] ?? 0, 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `, 8);
  return header;
}
