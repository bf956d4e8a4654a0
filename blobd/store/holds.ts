import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeAtomically } from "./atomic.ts";
import { errnoOf, storeError } from "./errors.ts";
import { isHex, type StorePaths } from "./paths.ts";
import { MAX_RECORD_LIST } from "./records.ts";

/**
 * What somebody outside the store relies on: a snapshot that is mounted, a layer that was converted for an image whose
 * record is not written yet. Prune takes none of it, whatever its size limit says, until the hold is given back.
 */
export interface Hold {
  /** Who holds, such as `snapshotter /var/lib/blobd`: it finds its own holds again after a crash by this. */
  readonly owner: string;
  /** Keys of layer records; their files are held with them. */
  readonly layers: readonly string[];
  /** Digests of further files. */
  readonly files: readonly string[];
}

/** A hold with its key. */
export interface FoundHold extends Hold {
  readonly key: string;
}

const SUFFIX = ".json";

/**
 * One folder of holds, `<key>.json` each. A hold that cannot be read is kept and holds nothing: prune must not fail for
 * it, and its owner writes it anew.
 */
export class Holds {
  readonly #paths: StorePaths;

  constructor(paths: StorePaths) {
    this.#paths = paths;
  }

  /** @throws StoreError */
  put(key: string, { owner, layers, files }: Hold, durable: boolean): void {
    if (layers.length > MAX_RECORD_LIST || files.length > MAX_RECORD_LIST)
      throw new RangeError(
        `hold: found ${layers.length} layers and ${files.length} files, expected ${MAX_RECORD_LIST}`,
      );
    writeAtomically(this.#paths, this.#paths.hold(key), `${JSON.stringify({ owner, layers, files })}\n`, durable);
  }

  /** @throws StoreError */
  remove(key: string): void {
    const path = this.#paths.hold(key);
    try {
      rmSync(path, { force: true });
    } catch (error) {
      throw storeError(error, path, "removing");
    }
  }

  /** @throws StoreError */
  list(): FoundHold[] {
    const folder = this.#paths.holds;
    try {
      const keys = readdirSync(folder)
        .filter((name) => name.endsWith(SUFFIX))
        .map((name) => name.slice(0, -SUFFIX.length));
      return keys.filter(isHex).flatMap((key) => this.#read(key));
    } catch (error) {
      throw storeError(error, folder, "listing");
    }
  }

  #read(key: string): FoundHold[] {
    try {
      const { owner, layers, files } = JSON.parse(readFileSync(join(this.#paths.holds, key + SUFFIX), "utf8"));
      return [{ key, owner: String(owner), layers: hexList(layers), files: hexList(files) }];
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      return [{ key, owner: "", layers: [], files: [] }];
    }
  }
}

function hexList(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string" && isHex(one)) : [];
}
