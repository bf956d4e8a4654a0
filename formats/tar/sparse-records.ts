import { type ByteString, FormatError } from "../bytes/index.ts";
import type { TarLimits } from "./limits.ts";
import { decimal } from "./numbers.ts";
import { SparseMap } from "./sparse.ts";

const COMMA = 0x2c;

/**
 * The `GNU.sparse.*` records of one `x` header. GNU tar has written them in three formats (GNU tar manual, "Storing
 * Sparse Files"):
 *
 * | format | size             | name | map                                                        |
 * |--------|------------------|------|------------------------------------------------------------|
 * | 0.0    | size             | path | a pair of records `offset`, `numbytes` for each run         |
 * | 0.1    | size             | name | `map`: offset,length,offset,length,…                       |
 * | 1.0    | realsize         | name | in front of the file's data; `major` 1 and `minor` 0       |
 */
export class SparseRecords {
  /** The file's real path; `path` then holds a made-up one. */
  name: ByteString | null = null;
  readonly #limits: TarLimits;
  #major = -1;
  #minor = -1;
  #realSize = -1;
  #numBlocks = -1;
  /** Offset, length, offset, length, … of formats 0.0 and 0.1. */
  #pairs: number[] | null = null;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  /**
   * Takes the record GNU.sparse.`key`; unknown ones are passed over.
   * @throws FormatError ERR_BAD_VALUE
   */
  add(key: string, bytes: Uint8Array, start: number, end: number, at: number): void {
    switch (key) {
      case "major":
        this.#major = number(key, bytes, start, end, at);
        return;
      case "minor":
        this.#minor = number(key, bytes, start, end, at);
        return;
      case "size":
      case "realsize":
        this.#realSize = number(key, bytes, start, end, at);
        return;
      case "numblocks":
        this.#numBlocks = number(key, bytes, start, end, at);
        return;
      case "offset":
      case "numbytes":
        this.#pair(key, number(key, bytes, start, end, at), at);
        return;
      case "map":
        this.#pairs = this.#list(bytes, start, end, at);
    }
  }

  #pair(key: string, value: number, at: number): void {
    this.#pairs ??= [];
    if ((this.#pairs.length % 2 === 0) !== (key === "offset"))
      throw bad(key, at, "offset and numbytes do not come in turns");
    this.#push(this.#pairs, value, at);
  }

  #list(bytes: Uint8Array, start: number, end: number, at: number): number[] {
    const pairs: number[] = [];
    for (let p = start; p < end; ) {
      let comma = p;
      while (comma < end && bytes[comma] !== COMMA) comma++;
      this.#push(pairs, number("map", bytes, p, comma, at + p - start), at + p - start);
      p = comma + 1;
    }
    return pairs;
  }

  #push(pairs: number[], value: number, at: number): void {
    if (pairs.length >= 2 * this.#limits.sparseSegments)
      throw bad("map", at, `has more than ${this.#limits.sparseSegments} entries`);
    pairs.push(value);
  }

  /** Whether the map stands in front of the data (format 1.0). */
  get leadsData(): boolean {
    return this.#major === 1;
  }

  /**
   * The map that the records give, complete for 0.0 and 0.1, still empty for 1.0; with the file's size.
   *
   * @param at the `x` header's place in the archive, in bytes
   * @throws FormatError ERR_UNSUPPORTED for another format, ERR_BAD_VALUE for records that do not make a map
   */
  open(at: number): { map: SparseMap; realSize: number } {
    const version = this.#major < 0 && this.#minor < 0 ? "0.x" : `${this.#major}.${this.#minor}`;
    if (!["0.x", "0.0", "0.1", "1.0"].includes(version))
      throw new FormatError("ERR_UNSUPPORTED", "pax header GNU.sparse.major", at, `found sparse format ${version}`);
    if (this.#realSize < 0) throw bad("realsize", at, "is missing");
    const map = new SparseMap(this.#realSize, this.#limits);
    if (!this.leadsData) this.#fill(map, at);
    return { map, realSize: this.#realSize };
  }

  #fill(map: SparseMap, at: number): void {
    const pairs = this.#pairs ?? [];
    const entries = pairs.length / 2;
    if (!Number.isInteger(entries)) throw bad("map", at, "has an offset without a length");
    if (this.#numBlocks >= 0 && this.#numBlocks !== entries)
      throw bad("numblocks", at, `found ${this.#numBlocks}, the map has ${entries} entries`);
    for (let i = 0; i < pairs.length; i += 2) map.add(pairs[i]!, pairs[i + 1]!, at);
  }
}

function number(key: string, bytes: Uint8Array, start: number, end: number, at: number): number {
  const value = decimal(bytes, start, end);
  if (!Number.isNaN(value)) return value;
  throw bad(key, at, "expected a decimal number below 2^53");
}

function bad(key: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", `pax header GNU.sparse.${key}`, at, detail);
}
