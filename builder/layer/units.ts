/** What file data is cut into, and how equal pieces are found. */
import { crc32 } from "node:zlib";

/** Files of this size and more start on a huge page (x86-64 and arm64 with 4 KiB pages), and it is their dedup unit. */
export const HUGE_PAGE = 2097152;
/** How much of each end of a unit its fingerprint covers. */
const END_BYTES = 2048;

/** Bytes of a unit, to be used before the next call. */
export type ReadUnit = (offset: number, length: number) => Uint8Array;

/** Where a unit lies in blobs that are there already. */
export interface UnitPlace {
  /** Index into the `blobs` of whoever found it. */
  readonly blob: number;
  /** In bytes from the start of the blob. */
  readonly position: number;
}

/** Units that need not be stored again. */
export interface KnownUnits {
  /** Where the bytes that `read` gives are; they have been compared. */
  find(length: number, fingerprint: number, read: ReadUnit): UnitPlace | undefined;
}

/** Tells most different units of one length apart: the CRC-32 of both ends. */
export function endsFingerprint(length: number, read: ReadUnit): number {
  const head = crc32(read(0, Math.min(length, END_BYTES)));
  return length <= END_BYTES ? head : combine(head, crc32(read(length - END_BYTES, END_BYTES)));
}

/** Two CRCs as one number of 32 bits. */
function combine(head: number, tail: number): number {
  return (Math.imul(head, 0x9e3779b1) ^ tail) >>> 0;
}
