import { type BigIntStats, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { syncFolder, writeAtomically } from "./atomic.ts";
import type { BlobFile } from "./blob-file.ts";
import type { Commit } from "./blob-writer.ts";
import { type BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { storeError } from "./errors.ts";
import { hashFile } from "./hash-file.ts";
import { withFileLock } from "./locks.ts";
import { isHex, type StorePaths } from "./paths.ts";

/** What a blob's file was found to be: its bytes have the digest of its name, or not, or there is none. */
export type BlobState = "good" | "corrupt" | "missing";

/**
 * The files in `blobs/sha256`, all complete and named by their digest.
 *
 * Verified on use, without reading: when a file's digest is known (it was just written, or just read through) its size,
 * inode, mtime and ctime are noted in `verified/sha256`. As long as they still hold, nobody has written to it; when they
 * do not (a copy, a restored backup, somebody's hand) it is read once (about 1 s per GB) and noted again. Only silent
 * decay of the disk escapes that; `verify` always reads.
 */
export class Blobs implements Commit {
  readonly #paths: StorePaths;
  readonly #pool: BufferPool;
  readonly #durable: boolean;

  constructor(paths: StorePaths, pool: BufferPool, durable: boolean) {
    this.#paths = paths;
    this.#pool = pool;
    this.#durable = durable;
  }

  /**
   * Seals a written file and gives it its name. Its data is on the disk before the name is, so that after a crash a
   * name never stands for less than its content. A file that is there and good stays: guests may have its pages in
   * memory already, and would not share them with ours.
   * @throws StoreError
   */
  async done(file: BlobFile, digestHex: string, sizeBytes: number): Promise<void> {
    if ((await this.check(digestHex, sizeBytes)) === "good") return this.drop(file);
    await file.seal(sizeBytes, this.#durable);
    await withFileLock(this.#paths.keyLock(digestHex), async () => this.#install(file.path, digestHex));
    file.close();
  }

  drop(file: BlobFile): void {
    file.close();
    rmSync(file.path, { force: true });
  }

  /** The file's status, or undefined when there is no such file. */
  stat(digestHex: string): BigIntStats | undefined {
    const path = this.#paths.blob(digestHex);
    try {
      const found = statSync(path, { bigint: true, throwIfNoEntry: false });
      return found?.isFile() ? found : undefined;
    } catch (error) {
      throw storeError(error, path, "looking up");
    }
  }

  /**
   * The check on use: reads the file only when it may have changed since it was last read. A corrupt one is removed.
   * @throws StoreError
   */
  async check(digestHex: string, sizeBytes: number): Promise<BlobState> {
    const found = this.stat(digestHex);
    if (found?.size === BigInt(sizeBytes) && this.#stamped(digestHex) === stampOf(found)) return "good";
    return this.verify(digestHex, sizeBytes);
  }

  /**
   * The full check: reads the file and compares its sha256 with its name, and its size with `sizeBytes` if that is
   * given. A corrupt one is removed, so that the next conversion brings it again.
   * @throws StoreError
   */
  async verify(digestHex: string, sizeBytes?: number): Promise<BlobState> {
    const found = this.stat(digestHex);
    if (!found) return "missing";
    const size = Number(found.size);
    const sizeFits = size === (sizeBytes ?? size) && size % SEGMENT_BYTES === 0;
    if (sizeFits && (await this.#digestOf(digestHex)) === digestHex) {
      // The status from before reading: what changed the file meanwhile must not pass as read.
      this.#stamp(digestHex, found);
      return "good";
    }
    await withFileLock(this.#paths.keyLock(digestHex), async () => {
      const now = this.stat(digestHex);
      if (now && stampOf(now) === stampOf(found)) this.remove(digestHex);
    });
    return "corrupt";
  }

  /** Removes a blob. Whoever has it open or mapped keeps it. @throws StoreError */
  remove(digestHex: string): void {
    const path = this.#paths.blob(digestHex);
    try {
      rmSync(path, { force: true });
      rmSync(this.#paths.stamp(digestHex), { force: true });
    } catch (error) {
      throw storeError(error, path, "removing");
    }
  }

  /** Removes stamps whose blob has gone by other hands. @throws StoreError */
  removeStrayStamps(): void {
    try {
      for (const name of readdirSync(this.#paths.verified))
        if (!isHex(name.slice(0, 64)) || !this.stat(name.slice(0, 64))) rmSync(join(this.#paths.verified, name));
    } catch (error) {
      throw storeError(error, this.#paths.verified, "cleaning up");
    }
  }

  /** The digests of all blobs. @throws StoreError */
  list(): string[] {
    try {
      return readdirSync(this.#paths.blobs).filter(isHex).sort();
    } catch (error) {
      throw storeError(error, this.#paths.blobs, "listing");
    }
  }

  /**
   * Gives a file that has become complete its name: one that was fetched piece by piece, and whose digest was just taken.
   * It is on the disk and read-only by then. A file that is there and good stays, and `path` is removed.
   * @throws StoreError
   */
  async adopt(path: string, digestHex: string, sizeBytes: number): Promise<void> {
    if ((await this.check(digestHex, sizeBytes)) === "good") rmSync(path, { force: true });
    else await withFileLock(this.#paths.keyLock(digestHex), async () => this.#install(path, digestHex));
  }

  #install(from: string, digestHex: string): void {
    const path = this.#paths.blob(digestHex);
    try {
      renameSync(from, path);
      if (this.#durable) syncFolder(this.#paths.blobs);
    } catch (error) {
      throw storeError(error, path, "storing");
    }
    const found = this.stat(digestHex);
    if (found) this.#stamp(digestHex, found);
  }

  async #digestOf(digestHex: string): Promise<string> {
    const path = this.#paths.blob(digestHex);
    try {
      return await hashFile(path, this.#pool);
    } catch (error) {
      throw storeError(error, path, "verifying");
    }
  }

  #stamp(digestHex: string, found: BigIntStats): void {
    // Not worth a sync: a lost or torn stamp only means that the blob is read again.
    writeAtomically(this.#paths, this.#paths.stamp(digestHex), stampOf(found), false);
  }

  #stamped(digestHex: string): string | undefined {
    try {
      return readFileSync(this.#paths.stamp(digestHex), "utf8");
    } catch {
      return undefined;
    }
  }
}

/** What changes when somebody writes to a file, or puts another in its place. */
function stampOf(found: BigIntStats): string {
  const { size, ino, mtimeNs, ctimeNs } = found;
  const numbers = { size, ino, mtimeNs, ctimeNs };
  return `${JSON.stringify(numbers, (_, value) => (typeof value === "bigint" ? value.toString() : value))}\n`;
}
