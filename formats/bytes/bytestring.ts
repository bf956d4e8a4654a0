import { createHash } from "node:crypto";

/**
 * Bytes held in a string, one char (0 to 255) a byte: the form of file names, link targets and xattr values inside this
 * project. File names are bytes, not text; held this way they compare, sort and hash as bytes do, and cost one byte a
 * char in V8. Never mix them with ordinary text: convert at the edges with the functions below.
 */
export type ByteString = string;

/** The bytes of `buffer` as a ByteString. */
export function fromBytes(buffer: Uint8Array, start = 0, end = buffer.length): ByteString {
  return Buffer.from(buffer.buffer, buffer.byteOffset + start, end - start).toString("latin1");
}

/** The bytes of a ByteString. */
export function toBytes(bytes: ByteString): Buffer {
  return Buffer.from(bytes, "latin1");
}

/** Ordinary text (command line, JSON) as the ByteString of its UTF-8 form. */
export function fromText(text: string): ByteString {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** A ByteString for people: decoded as UTF-8, with U+FFFD where it is not UTF-8. */
export function toText(bytes: ByteString): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

const PLAIN = /^[\x21-\x5b\x5d-\x7e]*$/;

/** A ByteString as printable ASCII without spaces, reversible: other bytes become `\xHH`, a backslash becomes `\\`. */
export function escapeBytes(bytes: ByteString): string {
  if (PLAIN.test(bytes)) return bytes;
  return bytes.replace(/[^\x21-\x5b\x5d-\x7e]/g, (c) =>
    c === "\\" ? "\\\\" : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** V8 hashes strings longer than 16,383 chars by their length alone. */
const LONGEST_PLAIN_KEY = 1024;

/**
 * A Map key for bytes of any length. Long strings of one length all have the same hash in V8, so that a Map with them as
 * keys becomes a list: thousands of long values from a hostile input would stall the process.
 */
export function mapKey(bytes: ByteString): string {
  if (bytes.length <= LONGEST_PLAIN_KEY) return bytes;
  // No ByteString has a char above 255, so no short one equals the key of a long one.
  return `\u0100${createHash("sha256").update(bytes, "latin1").digest("hex")}`;
}
