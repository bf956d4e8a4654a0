import { FormatError } from "../bytes/index.ts";
import type { SparseSegment } from "./entry.ts";
import { BLOCK, OldGnuHeader } from "./header.ts";
import type { TarLimits } from "./limits.ts";
import { decimal, headerNumber } from "./numbers.ts";

/** Collects a sparse map and checks that it describes a file: in order, inside the file, as much data as is stored. */
export class SparseMap {
  readonly segments: SparseSegment[] = [];
  readonly #limits: TarLimits;
  readonly #realSize: number;
  #entries = 0;
  #end = 0;
  #sum = 0;

  /** @param realSize the file's size in bytes, holes included, below 2^53 */
  constructor(realSize: number, limits: TarLimits) {
    this.#realSize = realSize;
    this.#limits = limits;
  }

  /**
   * The next run of data. Empty runs (GNU tar ends a map with one when the file ends with a hole) are checked and dropped.
   * @param at the map entry's place in the archive, in bytes
   * @throws FormatError ERR_BAD_VALUE
   */
  add(offset: number, length: number, at: number): void {
    if (++this.#entries > this.#limits.sparseSegments)
      throw bad(at, `has more than ${this.#limits.sparseSegments} entries`);
    if (!(offset >= 0 && length >= 0)) throw bad(at, `entry ${this.#entries} is not two numbers from 0 to 2^53`);
    if (offset < this.#end) throw bad(at, `found data at ${offset}, the run before ends at ${this.#end}`);
    if (offset + length > this.#realSize)
      throw bad(at, `found data up to ${offset + length} in a file of ${this.#realSize} bytes`);
    this.#end = offset + length;
    this.#sum += length;
    if (length > 0) this.segments.push({ offset, length });
  }

  /**
   * The whole map, known to be made of as many bytes as the archive stores.
   * @throws FormatError ERR_BAD_VALUE
   */
  finish(storedSize: number, at: number): readonly SparseSegment[] {
    if (this.#sum !== storedSize)
      throw bad(at, `describes ${this.#sum} bytes of data, the archive stores ${storedSize}`);
    return this.segments;
  }
}

/** Map entries of an old GNU header, and of each block that continues it (struct sparse_header). */
const ENTRIES_IN_HEADER = 4;
const ENTRIES_IN_CONTINUATION = 21;
const ENTRY_FIELD = 12;
const CONTINUATION_ISEXTENDED = ENTRIES_IN_CONTINUATION * 2 * ENTRY_FIELD;

/**
 * The size in bytes, holes included, of the type S file whose header is at `p`.
 * @throws FormatError ERR_BAD_VALUE
 */
export function oldGnuRealSize(block: Uint8Array, p: number, at: number): number {
  const field = OldGnuHeader.at.realsize;
  const size = headerNumber(block, p + field, p + field + ENTRY_FIELD);
  if (size >= 0) return size;
  throw new FormatError("ERR_BAD_VALUE", "tar header.realsize", at + field, "expected a number from 0 to 2^53");
}

/** Adds the map entries of the type S header at `p`; true when a continuation block follows. */
export function addHeaderEntries(block: Uint8Array, p: number, at: number, map: SparseMap): boolean {
  addEntries(block, p + OldGnuHeader.at.sp, ENTRIES_IN_HEADER, at, map);
  return block[p + OldGnuHeader.at.isextended] !== 0;
}

/** Adds the map entries of the continuation block at `p`; true when another one follows. */
export function addContinuationEntries(block: Uint8Array, p: number, at: number, map: SparseMap): boolean {
  addEntries(block, p, ENTRIES_IN_CONTINUATION, at, map);
  return block[p + CONTINUATION_ISEXTENDED] !== 0;
}

function addEntries(block: Uint8Array, start: number, count: number, at: number, map: SparseMap): void {
  for (let i = 0; i < count; i++) {
    const p = start + i * 2 * ENTRY_FIELD;
    // GNU tar tells unused entries by a length field that starts with NUL.
    if (block[p + ENTRY_FIELD] === 0) return;
    const offset = headerNumber(block, p, p + ENTRY_FIELD);
    const length = headerNumber(block, p + ENTRY_FIELD, p + 2 * ENTRY_FIELD);
    map.add(offset, length, at);
  }
}

const NEWLINE = 0x0a;
/** Digits of 2^53, with a few zeros in front. */
const LONGEST_LINE = 24;

/**
 * The map of PAX sparse format 1.0: decimal numbers, a line each, in front of the data: the number of entries, then
 * offset and length of each, padded with zeros to a whole number of blocks. GNU tar manual, "Storing Sparse Files".
 */
export class LeadingMap {
  readonly map: SparseMap;
  readonly #line = new Uint8Array(LONGEST_LINE);
  #lineLength = 0;
  /** Numbers still to come; -1 before the first line. */
  #expected = -1;
  #offset = -1;

  constructor(map: SparseMap) {
    this.map = map;
  }

  /**
   * Reads the next block of the map; true when the map is complete, and data follows the block.
   * @throws FormatError ERR_BAD_VALUE
   */
  block(block: Uint8Array, p: number, at: number): boolean {
    for (let i = p; i < p + BLOCK; i++) {
      const c = block[i]!;
      if (c !== NEWLINE) {
        if (this.#lineLength === LONGEST_LINE) throw bad(at + i - p, "has a line too long for a number");
        this.#line[this.#lineLength++] = c;
        continue;
      }
      const value = decimal(this.#line, 0, this.#lineLength);
      this.#lineLength = 0;
      if (Number.isNaN(value)) throw bad(at + i - p, "has a line that is not a decimal number");
      this.#number(value, at + i - p);
      if (this.#expected === 0) return true;
    }
    return false;
  }

  #number(value: number, at: number): void {
    if (this.#expected < 0) this.#expected = value * 2;
    else {
      this.#expected--;
      if (this.#offset < 0) this.#offset = value;
      else {
        this.map.add(this.#offset, value, at);
        this.#offset = -1;
      }
    }
  }
}

function bad(at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", "tar sparse map", at, detail);
}
