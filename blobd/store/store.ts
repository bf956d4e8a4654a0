import { createHash } from "node:crypto";
import { openSync, readFileSync } from "node:fs";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import { BlobFile } from "./blob-file.ts";
import { BlobWriter, type FinishedBlob } from "./blob-writer.ts";
import { type BlobState, Blobs } from "./blobs.ts";
import { BufferPool } from "./buffer-pool.ts";
import { StoreError, storeError } from "./errors.ts";
import { type EvictOptions, type EvictResult, evict } from "./evict.ts";
import { type FoundHold, type Hold, Holds } from "./holds.ts";
import { StoreLock, withFileLock } from "./locks.ts";
import { Partials } from "./partials.ts";
import { StorePaths } from "./paths.ts";
import { filesOfImage, filesOfLayer, type PruneOptions, type PruneResult, prune } from "./prune.ts";
import { type FoundRecord, RecordFiles } from "./record-files.ts";
import {
  type EncodingRecord,
  type ImageRecord,
  type LayerRecord,
  parseEncodingRecord,
  parseImageRecord,
  parseLayerRecord,
  type StoredFile,
} from "./records.ts";
import { Segments } from "./segments.ts";
import { prepare, removeLeftovers } from "./store-folder.ts";
import { VerityLeaves } from "./verity-leaves.ts";

export interface StoreOptions {
  /**
   * Whether blobs and records are on the disk (fsync) before they are visible; default true. It costs a few
   * milliseconds a blob, because O_DIRECT leaves little to wait for. Without it a power failure, not a mere kill, can
   * leave blobs that only `verifyBlob` finds out.
   */
  readonly durable?: boolean;
  /** Whether to write past the page cache where possible; default true. For tests of the fallback. */
  readonly direct?: boolean;
  /** Gets told about records and blobs that are no good; default `process.emitWarning`. */
  readonly onWarning?: (message: string) => void;
}

export interface BlobOptions {
  /** Longest blob in bytes, holes counted: a bound on what a hostile layer can fill. Default 16 TiB. */
  readonly maxBytes?: number;
  /** Whether a dm-verity hash tree goes behind the data (formats/verity), 1/127 of them; default false. */
  readonly verity?: boolean;
}

/** An image record with its key and when it was last used (milliseconds since 1970). */
export type FoundImage = FoundRecord<ImageRecord>;

/**
 * The local store, one handle a thread. Handles of several threads and processes work on one store at a time; each holds
 * it shared from `open` to `close`, and only `prune` wants it alone.
 *
 * @example
 * const store = await Store.open(defaultStoreRoot());
 * const record = (await store.getLayer(key)) ?? (await store.withLayerLock(key, async () => …convert, store.putLayer…));
 * store.close();
 */
export class Store {
  readonly root: string;
  /** Blobs that are fetched chunk by chunk. */
  readonly partials: Partials;
  readonly #paths: StorePaths;
  readonly #lock: StoreLock;
  readonly #pool = new BufferPool();
  readonly #durable: boolean;
  readonly #direct: boolean;
  readonly #warn: (message: string) => void;
  readonly #blobs: Blobs;
  readonly #layers: RecordFiles<LayerRecord>;
  readonly #images: RecordFiles<ImageRecord>;
  readonly #holds: Holds;
  readonly #encodings: RecordFiles<EncodingRecord>;

  private constructor(paths: StorePaths, lock: StoreLock, options: StoreOptions) {
    this.root = paths.root;
    this.#paths = paths;
    this.#lock = lock;
    this.#durable = options.durable ?? true;
    this.#direct = options.direct ?? true;
    this.#warn = options.onWarning ?? ((message) => process.emitWarning(message, "StoreWarning"));
    this.#blobs = new Blobs(paths, this.#pool, this.#durable);
    this.partials = new Partials(paths, this.#blobs, this.#pool, this.#durable);
    this.#layers = new RecordFiles(paths, paths.layers, parseLayerRecord, this.#warn);
    this.#images = new RecordFiles(paths, paths.images, parseImageRecord, this.#warn);
    this.#holds = new Holds(paths);
    this.#encodings = new RecordFiles(paths, paths.encodings, parseEncodingRecord, this.#warn);
  }

  /**
   * Opens the store at `root`, making it if the folder is empty or absent. Waits while somebody prunes. When nobody
   * else has it open, what killed processes left in flight is removed.
   * @throws StoreError
   */
  static async open(root: string, options: StoreOptions = {}): Promise<Store> {
    const paths = new StorePaths(root);
    prepare(paths);
    const lock = new StoreLock(paths.lock);
    try {
      if (await lock.exclude(0)) removeLeftovers(paths);
      await lock.share();
      return new Store(paths, lock, options);
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** Gives the store up. Finish or abort all writers before. */
  close(): void {
    this.#lock.close();
  }

  /** The record of a converted layer whose files are all there and unchanged. @throws StoreError */
  async getLayer(key: string): Promise<LayerRecord | undefined> {
    const found = this.#layers.get(key);
    if (!found) return undefined;
    if (await this.#allGood(this.#layers.path(key), filesOfLayer(found.record))) return found.record;
    this.#layers.remove(key);
    return undefined;
  }

  /** @throws StoreError */
  putLayer(key: string, record: LayerRecord): void {
    this.#layers.put(key, record, this.#durable);
  }

  /** The record of a converted image whose files are all there and unchanged; counts as a use. @throws StoreError */
  async getImage(key: string): Promise<ImageRecord | undefined> {
    const found = this.#images.get(key);
    if (!found) return undefined;
    if (await this.#allGood(this.#images.path(key), filesOfImage(found.record))) {
      this.#images.touch(key);
      return found.record;
    }
    this.#images.remove(key);
    return undefined;
  }

  /** Writes an image record; references of the one it replaces are kept. @throws StoreError */
  putImage(key: string, record: ImageRecord): void {
    const before = this.#images.get(key)?.record.references ?? [];
    const references = [...new Set([...before, ...record.references])];
    this.#images.put(key, { ...record, references }, this.#durable);
  }

  /** Removes an image record; its layers and blobs go with the next prune unless others hold them. @throws StoreError */
  removeImage(key: string): void {
    this.#images.remove(key);
  }

  /** All image records, most recently used first, without a look at their files. @throws StoreError */
  listImages(): FoundImage[] {
    const found = this.#images.keys().map((key) => this.#images.get(key));
    return found.filter((image) => image !== undefined).sort((a, b) => b.lastUsedMs - a.lastUsedMs);
  }

  /** How a blob was encoded for registries, if it was. @throws StoreError */
  getEncoding(key: string): EncodingRecord | undefined {
    return this.#encodings.get(key)?.record;
  }

  /** @throws StoreError */
  putEncoding(key: string, record: EncodingRecord): void {
    this.#encodings.put(key, record, false);
  }

  /**
   * Keeps what `hold` names from every prune, until `removeHold`; replaces an earlier hold of this key. Holding and what
   * it is about belong under one opening of the store: between two, somebody may prune. @throws StoreError
   */
  putHold(key: string, hold: Hold): void {
    this.#holds.put(key, hold, this.#durable);
  }

  /** Gives a hold back; what nothing else holds goes with the next prune. @throws StoreError */
  removeHold(key: string): void {
    this.#holds.remove(key);
  }

  /** All holds, of every owner. @throws StoreError */
  listHolds(): FoundHold[] {
    return this.#holds.list();
  }

  /**
   * Runs `work` while nobody else, in any process or thread, runs work for the same key. Look the layer up again first
   * thing: the one we waited for has probably converted it. The lock is not reentrant. `signal` ends the wait.
   * @throws StoreError; the reason of `signal`; whatever `work` throws
   */
  withLayerLock<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withFileLock(this.#paths.keyLock(key), work, signal);
  }

  /** Starts a blob. @throws StoreError */
  createBlob(options: BlobOptions = {}): BlobWriter {
    const file = BlobFile.create(this.#paths.newTmp(), this.#direct);
    const leaves = options.verity ? new VerityLeaves() : undefined;
    const segments = new Segments(file, this.#pool, leaves);
    return new BlobWriter(file, segments, options.maxBytes ?? MAX_BLOB_BYTES, this.#blobs, leaves);
  }

  /** Stores bytes that are all there (a meta), padded with zeros to 2 MiB. @throws StoreError */
  async putBytes(bytes: Uint8Array, options: BlobOptions = {}): Promise<FinishedBlob> {
    if (bytes.length === 0) throw new RangeError("putBytes: there is no empty blob");
    const writer = this.createBlob(options);
    try {
      for (let done = 0; done < bytes.length; done += PUT_PIECE_BYTES)
        if (writer.write(bytes, done, Math.min(done + PUT_PIECE_BYTES, bytes.length))) await writer.drain();
      return (await writer.finish())!;
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  /** Where a blob's file is, or would be. Do not write to it. */
  blobPath(digestHex: string): string {
    return this.#paths.blob(digestHex);
  }

  /** A blob opened for reading: a file descriptor, the caller's to close. @throws StoreError */
  openBlob(digestHex: string): number {
    const path = this.#paths.blob(digestHex);
    try {
      return openSync(path, "r");
    } catch (error) {
      throw storeError(error, path, "opening");
    }
  }

  /** A blob's bytes, all of them: for metas. @throws StoreError */
  readBlob(digestHex: string): Buffer {
    const path = this.#paths.blob(digestHex);
    try {
      return readFileSync(path);
    } catch (error) {
      throw storeError(error, path, "reading");
    }
  }

  /** Whether a file is there and unchanged; reads it only when it may have changed. @throws StoreError */
  checkBlob(file: StoredFile): Promise<BlobState> {
    return this.#blobs.check(file.digestHex, file.size);
  }

  /** Reads a blob and compares its sha256 with its name (about 1 s per GB). A corrupt one is removed. @throws StoreError */
  verifyBlob(digestHex: string): Promise<BlobState> {
    return this.#blobs.verify(digestHex);
  }

  /** Size of a blob in bytes; 0 when it is not there. @throws StoreError */
  blobSize(digestHex: string): number {
    return Number(this.#blobs.stat(digestHex)?.size ?? 0n);
  }

  /** The digests of all blobs and metas. @throws StoreError */
  listBlobs(): string[] {
    return this.#blobs.list();
  }

  /**
   * Removes what is not needed; see PruneOptions. Waits up to `waitMs` (default 0) for other users to leave; a dry run
   * does not need them to.
   * @throws StoreError ERR_STORE_BUSY when they do not
   */
  async prune(options: PruneOptions & { readonly waitMs?: number } = {}): Promise<PruneResult> {
    const parts = {
      images: this.#images,
      layers: this.#layers,
      encodings: this.#encodings,
      blobs: this.#blobs,
      holds: this.#holds,
    };
    if (options.dryRun) return prune(parts, options);
    if (!(await this.#lock.exclude(options.waitMs ?? 0)))
      throw new StoreError("ERR_STORE_BUSY", this.root, `${this.root}: in use by another process or thread`);
    try {
      removeLeftovers(this.#paths);
      this.partials.removeStrays();
      return prune(parts, options);
    } finally {
      await this.#lock.share();
    }
  }

  /**
   * Makes the store small enough for a limit: blobs that are not complete go first, least recently used first and never one
   * that somebody uses; then images as in `prune`, when nobody else uses the store.
   * @throws StoreError
   */
  evict(options: EvictOptions): Promise<EvictResult> {
    return evict(this, options);
  }

  async #allGood(recordPath: string, files: readonly StoredFile[]): Promise<boolean> {
    for (const { digestHex, size } of files) {
      const state = await this.#blobs.check(digestHex, size);
      if (state === "good") continue;
      this.#warn(`${recordPath} is ignored: its blob ${digestHex} is ${state}`);
      return false;
    }
    return true;
  }
}

/** The key of a record: sha256 over everything that decides its content, in hex; the order of the fields is no matter. */
export function recordKey(fields: Readonly<Record<string, string | number | boolean>>): string {
  const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(sorted)).digest("hex");
}

/** Largest blob: block numbers have 32 bits. */
const MAX_BLOB_BYTES = (2 ** 32 - 1) * BLOCK_SIZE;
/** How much `putBytes` copies between two looks at whether to drain. */
const PUT_PIECE_BYTES = 1024 * 1024;
