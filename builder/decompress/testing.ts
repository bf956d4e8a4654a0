import { crc32, deflateRawSync, type ZlibOptions } from "node:zlib";
import { hasIsal } from "../../blobd/sys/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import type { Sizes } from "./native.ts";

/** Streams and helpers for the tests beside this file. */

/** The gzip engines of this machine. */
export const GZIP_ENGINES = hasIsal() ? (["isal", "zlib"] as const) : (["zlib"] as const);

/** Buffers so small that every boundary is met. */
export const TINY: Sizes = { inputBytes: 7, outputBytes: 67 };

/** Everything a decompressor yields; each piece is copied before the next is asked for. */
export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

/** `bytes` in chunks of the given sizes, over and over, all in one buffer that is spoiled before each chunk. */
export async function* chunks(bytes: Uint8Array, ...sizes: number[]): AsyncGenerator<Uint8Array, void> {
  const reused = Buffer.alloc(sizes.length > 0 ? Math.max(...sizes) : bytes.length);
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const chunk = bytes.subarray(at, at + (sizes[i % sizes.length] ?? bytes.length));
    reused.fill(0x1f);
    reused.set(chunk);
    yield reused.subarray(0, chunk.length);
    at += chunk.length;
  }
}

export interface MemberOptions extends ZlibOptions {
  readonly text?: boolean;
  readonly extra?: Buffer;
  readonly fileName?: string;
  readonly comment?: string;
  readonly headerCrc?: boolean;
}

/** One gzip member, with the header fields asked for (RFC 1952). */
export function member(content: Uint8Array, options: MemberOptions = {}): Buffer {
  const { extra, fileName, comment, headerCrc, text } = options;
  const flags =
    (text ? 1 : 0) |
    (headerCrc ? 2 : 0) |
    (extra !== undefined ? 4 : 0) |
    (fileName !== undefined ? 8 : 0) |
    (comment !== undefined ? 16 : 0);
  const parts: Buffer[] = [Buffer.from([0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255])];
  if (extra !== undefined) parts.push(u16(extra.length), extra);
  if (fileName !== undefined) parts.push(Buffer.from(`${fileName}\0`, "latin1"));
  if (comment !== undefined) parts.push(Buffer.from(`${comment}\0`, "latin1"));
  if (headerCrc) parts.push(u16(crc32(Buffer.concat(parts)) & 0xffff));
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(content), 0);
  trailer.writeUInt32LE(content.length % 2 ** 32, 4);
  return Buffer.concat([...parts, deflateRawSync(content, options), trailer]);
}

export function u16(value: number): Buffer {
  return Buffer.from([value & 0xff, value >> 8]);
}

/** A zstd frame of uncompressed blocks (RFC 8878 section 3.1.1), for a window of 2^windowLog bytes. */
export function zstdFrame(content: Uint8Array, windowLog = 17): Buffer {
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3])];
  for (let at = 0; at < content.length || at === 0; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES);
    const last = at + BLOCK_BYTES >= content.length ? 1 : 0;
    const header = Buffer.alloc(3);
    header.writeUIntLE((block.length << 3) | last, 0, 3);
    parts.push(header, Buffer.from(block));
  }
  return Buffer.concat(parts);
}
const BLOCK_BYTES = 1024;

/** A skippable zstd frame. */
export function skippableFrame(content: Uint8Array): Buffer {
  const header = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

/** Checks an error's parts; to be given to assert.rejects. */
export function formatError(code: FormatError["code"], field: string, offset: number): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof FormatError)) return false;
    const found = `${error.code} ${error.field} ${error.offset}`;
    if (found !== `${code} ${field} ${offset}`) throw new Error(`found ${found}, expected ${code} ${field} ${offset}`);
    return true;
  };
}
