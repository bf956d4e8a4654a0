import { readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { writeAtomically } from "./atomic.ts";
import { errnoOf, StoreError, storeError } from "./errors.ts";
import { isHex, type StorePaths } from "./paths.ts";
import { type AnyRecord, formatRecord, MAX_RECORD_BYTES } from "./records.ts";

/** A record as found on disk. */
export interface FoundRecord<T> {
  readonly key: string;
  readonly record: T;
  /** When it was last written or touched, in milliseconds since 1970. */
  readonly lastUsedMs: number;
}

/** One folder of records, `<key>.json` each. Whatever is not a good record counts as absent, with a warning. */
export class RecordFiles<T extends AnyRecord> {
  readonly #paths: StorePaths;
  readonly #folder: string;
  readonly #parse: (text: string) => T;
  readonly #warn: (message: string) => void;

  constructor(paths: StorePaths, folder: string, parse: (text: string) => T, warn: (message: string) => void) {
    this.#paths = paths;
    this.#folder = folder;
    this.#parse = parse;
    this.#warn = warn;
  }

  /** @throws StoreError when the file is there and cannot be read */
  get(key: string): FoundRecord<T> | undefined {
    const path = this.path(key);
    let text: string;
    let lastUsedMs: number;
    try {
      const found = statSync(path);
      if (found.size > MAX_RECORD_BYTES) return this.#bad(path, `${found.size} bytes, at most ${MAX_RECORD_BYTES}`);
      lastUsedMs = found.mtimeMs;
      text = readFileSync(path, "utf8");
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw storeError(error, path, "reading");
    }
    try {
      return { key, record: this.#parse(text), lastUsedMs };
    } catch (error) {
      return this.#bad(path, (error as Error).message);
    }
  }

  /** @throws StoreError; Error when the record is not one that could be read again: a mistake of the caller */
  put(key: string, record: T, durable: boolean): void {
    const text = formatRecord(record);
    if (Buffer.byteLength(text) > MAX_RECORD_BYTES)
      throw new StoreError("ERR_STORE_LIMIT", this.path(key), `record of over ${MAX_RECORD_BYTES} bytes`);
    this.#parse(text);
    writeAtomically(this.#paths, this.path(key), text, durable);
  }

  /** Notes that the record was used now. */
  touch(key: string): void {
    // Whole milliseconds, rounded up: what was written a moment ago is not more recent.
    const now = new Date(Date.now() + 1);
    try {
      utimesSync(this.path(key), now, now);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw storeError(error, this.path(key), "touching");
    }
  }

  /** @throws StoreError */
  remove(key: string): void {
    try {
      rmSync(this.path(key), { force: true });
    } catch (error) {
      throw storeError(error, this.path(key), "removing");
    }
  }

  /** The keys of all files, also of those that are no good. @throws StoreError */
  keys(): string[] {
    try {
      const names = readdirSync(this.#folder).filter((name) => name.endsWith(SUFFIX));
      return names.map((name) => name.slice(0, -SUFFIX.length)).filter(isHex);
    } catch (error) {
      throw storeError(error, this.#folder, "listing");
    }
  }

  path(key: string): string {
    if (!isHex(key)) throw new RangeError(`record key: expected 64 hex digits, found ${JSON.stringify(key)}`);
    return join(this.#folder, key + SUFFIX);
  }

  #bad(path: string, why: string): undefined {
    this.#warn(`${path} is not a good record and is ignored: ${why}`);
    return undefined;
  }
}

const SUFFIX = ".json";
