import {
  chmodSync,
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { FormatError } from "../../formats/bytes/index.ts";
import type { ChunkIndex } from "../../formats/chunk-index/index.ts";
import { PAGE_SIZE, tryFlock } from "../sys/index.ts";
import type { Blobs } from "./blobs.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { ChunkMap, type MapSubject } from "./chunk-map.ts";
import { errnoOf, StoreError, storeError } from "./errors.ts";
import { hashFile } from "./hash-file.ts";
import { withFileLock } from "./locks.ts";
import { PartialBlob } from "./partial-blob.ts";
import { keyOf, type PartialPromise, type PartialSource, promiseOf, usableIndex } from "./partial-source.ts";
import { isHex, type StorePaths } from "./paths.ts";

/** What is known of a blob that is not complete. */
export interface PartialInfo {
  readonly key: string;
  readonly contentHex: string;
  readonly chunks: number;
  readonly presentChunks: number;
  /** Of the content, in bytes. */
  readonly size: number;
  /** What it takes of the disk, in bytes. */
  readonly diskBytes: number;
  readonly lastUsedMs: number;
}

/**
 * The blobs that are not complete, in the folder `partial`: three files each, named by a digest of what was promised of them.
 *
 *     <key>.index    the chunk index, by which the blob can be opened again without its source
 *     <key>.data     the content: sparse, of its final size
 *     <key>.map      what is there; the last to come and the first to go, so a blob without a map is none
 *
 * The name is not the content's digest alone, on purpose: nobody can check that before all of it is there, and an image that
 * lies must not slip its chunks under another's name. It is the digest of the promised digest, the chunk index and where the
 * stored bytes end: the index's checksums decide the content, so equal names mean equal bytes and equal promises. When all
 * chunks are there and the promise holds, the file moves to `blobs` under the content's digest.
 */
export class Partials {
  readonly #paths: StorePaths;
  readonly #blobs: Blobs;
  readonly #pool: BufferPool;
  readonly #durable: boolean;

  constructor(paths: StorePaths, blobs: Blobs, pool: BufferPool, durable: boolean) {
    this.#paths = paths;
    this.#blobs = blobs;
    this.#pool = pool;
    this.#durable = durable;
  }

  /**
   * Opens a blob that is to be filled, and makes it when it is not there. It stays with the store until it is closed:
   * nobody evicts it meanwhile.
   * @returns undefined when the store has the blob already, complete
   * @throws FormatError for a chunk index that is none, or of a kind that cannot be filled; StoreError
   */
  async open(source: PartialSource): Promise<PartialBlob | undefined> {
    const index = usableIndex(source.index, source.storedEnd);
    const key = keyOf(promiseOf(source));
    return withFileLock(this.#paths.keyLock(key), async () => {
      if ((await this.#blobs.check(source.contentHex, index.size)) === "good") return undefined;
      if (!this.#exists(key)) this.#create(key, source, index);
      return this.#opened(key, index);
    });
  }

  /** What `open` takes of a blob that has been opened before, so that its chunk index need not be fetched again. */
  known(promise: PartialPromise): PartialSource | undefined {
    const { contentHex, storedEnd } = promise;
    try {
      const index = readFileSync(this.#paths.partialFile(keyOf(promise), "index"));
      const source = { contentHex, index, storedEnd };
      return promiseOf(source).indexHex === promise.indexHex ? source : undefined;
    } catch {
      return undefined;
    }
  }

  /** Opens a blob again that is there, without its source. @throws StoreError */
  async reopen(key: string): Promise<PartialBlob> {
    return withFileLock(this.#paths.keyLock(key), async () => {
      return this.#opened(key, this.#storedIndex(key));
    });
  }

  /**
   * Gives a whole blob its name among the complete ones, when it has the digest that was promised. The opening remains
   * usable; whoever opens the blob next finds the complete one.
   * @returns `named`; `mismatch` when the promise was wrong: the blob stays as it is
   * @throws StoreError
   */
  async complete(partial: PartialBlob): Promise<"named" | "mismatch"> {
    if (!partial.isWhole) throw new Error("complete: chunks are missing");
    if (partial.isMismatch) return "mismatch";
    const { key, contentHex, size, path } = partial;
    return withFileLock(this.#paths.keyLock(key), async () => {
      if (!this.#exists(key)) return "named";
      try {
        if (this.#durable) await partial.sync();
        if (size % PAGE_SIZE !== 0 || (await hashFile(path, this.#pool)) !== contentHex) {
          partial.setMismatch();
          return "mismatch";
        }
        chmodSync(path, 0o444);
        await this.#blobs.adopt(path, contentHex, size);
        for (const kind of ["map", "index"] as const) rmSync(this.#paths.partialFile(key, kind), { force: true });
        return "named";
      } catch (error) {
        throw storeError(error, path, "completing");
      }
    });
  }

  /** All of them, least recently used first. @throws StoreError */
  list(): PartialInfo[] {
    const found = this.#keys().map((key) => this.#info(key));
    return found.filter((info) => info !== undefined).sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  }

  /**
   * Compares what is there of a blob with its digests; damaged chunks are fetched again when they are needed.
   * @returns how many were damaged; undefined when somebody uses the blob: it is not looked at then
   * @throws StoreError
   */
  async verify(key: string): Promise<number | undefined> {
    return this.#alone(key, async () => {
      const partial = await this.#opened(key, this.#storedIndex(key));
      try {
        return await partial.verify();
      } finally {
        partial.close();
      }
    });
  }

  /** Removes a blob, unless somebody uses it. @returns whether it is gone @throws StoreError */
  async remove(key: string): Promise<boolean> {
    return (await this.#alone(key, async () => this.#remove(key))) !== undefined;
  }

  /** Removes files without a map: what is left of a creation or removal that was killed. Nobody else uses the store. */
  removeStrays(): void {
    const keys = new Set(this.#keys());
    try {
      for (const name of readdirSync(this.#paths.partial))
        if (!keys.has(name.slice(0, 64))) rmSync(`${this.#paths.partial}/${name}`, { force: true });
    } catch (error) {
      throw storeError(error, this.#paths.partial, "cleaning up");
    }
  }

  /** Runs `work` while nobody has the blob open; undefined when somebody has, or when it is not there. */
  async #alone<T>(key: string, work: () => Promise<T>): Promise<T | undefined> {
    return withFileLock(this.#paths.keyLock(key), async () => {
      const path = this.#paths.partialFile(key, "map");
      let fd: number;
      try {
        fd = openSync(path, "r+");
      } catch (error) {
        if (errnoOf(error) === "ENOENT") return undefined;
        throw storeError(error, path, "opening");
      }
      try {
        if (!tryFlock(fd, "exclusive")) return undefined;
      } finally {
        // Openings are made under the key's lock only, which is ours.
        closeSync(fd);
      }
      return work();
    });
  }

  async #opened(key: string, index: ChunkIndex): Promise<PartialBlob> {
    const mapPath = this.#paths.partialFile(key, "map");
    const map = ChunkMap.open(mapPath);
    let partial: PartialBlob;
    try {
      partial = new PartialBlob(key, index, this.#paths.partialFile(key, "data"), map);
    } catch (error) {
      map.close();
      throw error;
    }
    try {
      if (partial.isFromBefore) await partial.verify();
      touch(mapPath);
      return partial;
    } catch (error) {
      partial.close();
      throw error;
    }
  }

  #create(key: string, { index: payload, storedEnd, contentHex }: PartialSource, index: ChunkIndex): void {
    const data = this.#paths.partialFile(key, "data");
    const tmp = this.#paths.newTmp();
    try {
      writeFileSync(this.#paths.partialFile(key, "index"), payload, { mode: 0o600 });
      const fd = openSync(data, "w", 0o600);
      try {
        ftruncateSync(fd, index.size);
      } finally {
        closeSync(fd);
      }
      // Written in full, so that later writes to it need no room on the disk.
      writeFileSync(tmp, ChunkMap.empty({ chunks: index.count, size: index.size, storedEnd, contentHex }), {
        mode: 0o600,
      });
      renameSync(tmp, this.#paths.partialFile(key, "map"));
    } catch (error) {
      rmSync(tmp, { force: true });
      throw storeError(error, data, "creating", payload.length);
    }
  }

  #remove(key: string): true {
    for (const kind of ["map", "data", "index"] as const) {
      const path = this.#paths.partialFile(key, kind);
      try {
        rmSync(path, { force: true });
      } catch (error) {
        throw storeError(error, path, "removing");
      }
    }
    return true;
  }

  /** The chunk index as stored; it has the digest of its name, or is no good. */
  #storedIndex(key: string): ChunkIndex {
    const path = this.#paths.partialFile(key, "index");
    const { contentHex, storedEnd } = this.#subject(key);
    try {
      const index = readFileSync(path);
      if (keyOf(promiseOf({ contentHex, index, storedEnd })) !== key)
        throw new StoreError("ERR_STORE_CORRUPT", path, `${path} has been changed`);
      return usableIndex(index, storedEnd);
    } catch (error) {
      if (error instanceof FormatError)
        throw new StoreError("ERR_STORE_CORRUPT", path, `${path}: ${error.message}`, error);
      throw storeError(error, path, "reading");
    }
  }

  #subject(key: string): MapSubject {
    const map = ChunkMap.open(this.#paths.partialFile(key, "map"));
    map.close();
    return map.subject;
  }

  #exists(key: string): boolean {
    return statSync(this.#paths.partialFile(key, "map"), { throwIfNoEntry: false }) !== undefined;
  }

  #keys(): string[] {
    try {
      const names = readdirSync(this.#paths.partial).filter((name) => name.endsWith(".map"));
      return names.map((name) => name.slice(0, -".map".length)).filter(isHex);
    } catch (error) {
      throw storeError(error, this.#paths.partial, "listing");
    }
  }

  #info(key: string): PartialInfo | undefined {
    const path = this.#paths.partialFile(key, "map");
    try {
      const map = ChunkMap.open(path);
      const presentChunks = map.countPresent();
      map.close();
      const { chunks, size, contentHex } = map.subject;
      const diskBytes = statSync(this.#paths.partialFile(key, "data")).blocks * STAT_BLOCK_BYTES;
      return { key, contentHex, chunks, presentChunks, size, diskBytes, lastUsedMs: statSync(path).mtimeMs };
    } catch (error) {
      // Removed meanwhile, or damaged: then it is nothing that anybody could use.
      if (error instanceof StoreError || errnoOf(error) === "ENOENT") return undefined;
      throw storeError(error, path, "looking up");
    }
  }
}

/** Notes a use, rounded up: what was written a moment ago is not more recent. */
function touch(path: string): void {
  const now = new Date(Date.now() + 1);
  utimesSync(path, now, now);
}

/** Unit of st_blocks, in bytes: stat(2). */
const STAT_BLOCK_BYTES = 512;
