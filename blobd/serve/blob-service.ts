import { statSync } from "node:fs";
import { join } from "node:path";
import { digestHex, type ErofsLayer } from "../../formats/oci/index.ts";
import { ChunkFetcher, type FetchOptions, fetchChunkIndex } from "../fetch/index.ts";
import { BlobTable, Tickets } from "../fuse/blobs/index.ts";
import { FuseMount } from "../fuse/device/index.ts";
import { type Environment, type RetryPolicy, SourceError } from "../registry/index.ts";
import { type PartialBlob, Store, type StoredFile, StoreError } from "../store/index.ts";
import { answerTickets, type OnFault } from "./answer-tickets.ts";
import { CompleteHolds } from "./complete-holds.ts";
import { knownSource } from "./known-source.ts";
import type { ServiceTotals } from "./metrics.ts";
import { Origins } from "./origins.ts";
import { PageStorer } from "./page-storer.ts";
import { RecordedFiles, sharedFile } from "./recorded-files.ts";
import type { Recording } from "./recording.ts";
import type { BlobOrigin, Served } from "./served.ts";
import { type Keeping, notedOrigin, type TakenOver, takeOver } from "./take-over.ts";

const BLOCK_BYTES = 4096;

export interface ServiceOptions {
  readonly storeRoot: string;
  /** Where blobs that are not complete are shown. */
  readonly mountPoint: string;
  /** That serve the mount. */
  readonly threads: number;
  readonly fetch: FetchOptions;
  readonly retry: RetryPolicy;
  readonly env: Environment;
  readonly log: (line: string) => void;
  readonly onFault?: OnFault;
  /** With it the mount outlives this process. */
  readonly keeping?: Keeping;
}

/** A blob that the mount shows. */
interface Shown {
  readonly key: string;
  readonly index: number;
  readonly fetcher: ChunkFetcher;
  readonly path: string;
  uses: number;
}

/** How long what was taken over is shown, whoever uses it, in ms. */
const GRACE_MS = 60_000;
/** How often blobs that nobody uses are looked at for being closed, in ms. */
const SWEEP_MS = 1000;

/**
 * Serves the blobs of a store to this host: complete ones by their own path, others through a mount, fetched as they are
 * read. One for a store: its mount's files are what guests share their memory by.
 */
export class BlobService {
  readonly #options: ServiceOptions;
  readonly #table: BlobTable;
  readonly #tickets: Tickets;
  readonly #mount: FuseMount;
  readonly #holds: CompleteHolds;
  readonly #storer: PageStorer;
  readonly #origins: Origins;
  /** By key. */
  readonly #shown = new Map<string, Shown>();
  /** By place in the table. */
  readonly #places = new Map<number, Shown>();
  readonly #recorded: RecordedFiles;
  /** Of whatever is given out. */
  readonly #recordings = new Set<Recording>();
  readonly #sweep: NodeJS.Timeout;
  readonly #closing = new AbortController();
  #opening: Promise<unknown> = Promise.resolve();
  /** Since the process began, also of blobs that are not shown any more. */
  #chunks = 0;
  #storedBytes = 0;
  #hits = 0;
  /** What the threads had counted when it was last looked. */
  #hitsSeen = 0;

  /** @throws SysError when it cannot be mounted */
  static async start(options: ServiceOptions): Promise<BlobService> {
    const { keeping } = options;
    const table = new BlobTable(keeping && { fd: keeping.tableFd });
    const tickets = new Tickets();
    const storer = await PageStorer.start(table, tickets, options.log);
    const taken = keeping === undefined ? [] : await takeOver(options.storeRoot, table, keeping);
    const mount = await FuseMount.start({
      target: options.mountPoint,
      source: options.storeRoot,
      subtype: "blobd",
      readOnly: true,
      threads: options.threads,
      log: options.log,
      fileSystem: {
        module: new URL("./open-blobs.js", import.meta.url).href,
        open: "openBlobFileSystem",
        args: [table.memory, tickets.memory],
      },
      ...(keeping && { held: keeping.mount }),
    });
    const service = new BlobService(options, table, tickets, mount, storer, taken);
    if (keeping === undefined) return service;
    await mount.started;
    keeping.started(mount.terms);
    return service;
  }

  private constructor(
    options: ServiceOptions,
    table: BlobTable,
    tickets: Tickets,
    mount: FuseMount,
    storer: PageStorer,
    taken: readonly TakenOver[],
  ) {
    this.#options = options;
    this.#origins = new Origins(options.fetch, options.env);
    this.#table = table;
    this.#tickets = tickets;
    this.#mount = mount;
    this.#holds = new CompleteHolds(options.storeRoot);
    this.#storer = storer;
    this.#recorded = new RecordedFiles(table, mount.target);
    this.#sweep = setInterval(() => this.#closeUnused(), SWEEP_MS);
    for (const blob of taken) {
      if ("partial" in blob) this.#keepAWhile(this.#fetch(blob.index, blob.partial, blob.origin, blob.layer));
      else this.#recorded.takeOver(blob.index, blob.close);
    }
    const fetcherAt = (place: number) => this.#places.get(place)?.fetcher;
    void answerTickets(tickets, fetcherAt, options.log, options.onFault ?? (() => {}), this.#closing.signal);
  }

  /** Resolves when the mount is gone. */
  get done(): Promise<void> {
    return this.#mount.done;
  }

  /** Gives back what a service that was killed still holds in the store. Only when no other serves it. @throws StoreError */
  removeStaleHolds(): Promise<void> {
    return this.#holds.removeStale();
  }

  /** How many blobs are shown. */
  get shown(): number {
    return this.#shown.size + this.#recorded.count;
  }

  /** Records what is read of all blobs that are given out from now on, until `endRecording`. */
  startRecording(recording: Recording): void {
    this.#recordings.add(recording);
  }
  endRecording(recording: Recording): void {
    this.#recordings.delete(recording);
  }

  /** All that it has done. */
  get totals(): ServiceTotals {
    const { hits } = this.#tickets;
    this.#hits += (hits - this.#hitsSeen) >>> 0;
    this.#hitsSeen = hits;
    return { hits: this.#hits, chunks: this.#chunks, storedBytes: this.#storedBytes, shown: this.shown };
  }

  /**
   * A blob as a file.
   * @param isWhole all of it has to be there
   * @param recording of what is read of it, unless it has to be there as a whole anyway
   * @throws SourceError, FetchError, StoreError, FormatError
   */
  async serve(origin: BlobOrigin, layer: ErofsLayer, isWhole: boolean, recording?: Recording): Promise<Served> {
    const found = await this.#inTurn(() => this.#show(origin, layer));
    const recordings = recording === undefined ? [...this.#recordings] : [...this.#recordings, recording];
    if (!isWhole && recordings.length > 0) return this.#record(found, layer, recordings);
    if ("release" in found) return found;
    const served = this.#use(found);
    if (!isWhole) return served;
    const { partial } = found.fetcher;
    try {
      await found.fetcher.fetchAll();
      if ((await this.#complete(partial)) === "mismatch")
        throw new SourceError(
          "ERR_DIGEST",
          `layer ${layer.descriptor.digest}: its content does not have the digest ${layer.contentDigest} that the image names`,
        );
      return { ...(await this.#holds.serve(partial.contentHex)), fetched: served.fetched };
    } finally {
      served.release();
    }
  }

  /** One more use of a blob that is shown. */
  #use(shown: Shown): Served {
    const { fetcher, path } = shown;
    shown.uses++;
    const { chunks, storedBytes } = fetcher.counts;
    return {
      path,
      isComplete: false,
      fetched: () => ({
        chunks: fetcher.counts.chunks - chunks,
        storedBytes: fetcher.counts.storedBytes - storedBytes,
      }),
      prefetch: (offset, bytes) => {
        fetcher.prefetchRange(offset, bytes).catch(() => {}); // It is being closed.
      },
      release: () => {
        shown.uses--;
      },
    };
  }

  /** Shows a blob, complete or not, once more: for one client, whose reads are recorded. */
  #record(found: Shown | Served, { contentDigest: digest }: ErofsLayer, recordings: readonly Recording[]): Served {
    const isComplete = "release" in found;
    const served = isComplete ? found : this.#use(found);
    let close = () => served.release();
    try {
      const { shared, close: closeFile } = isComplete
        ? sharedFile(found.path)
        : { shared: found.fetcher.partial.shared, close: () => {} };
      close = () => {
        closeFile();
        served.release();
      };
      const { path, index, release } = this.#recorded.show({ digest, shared, recordings, close });
      if (!isComplete) this.#places.set(index, found);
      return { ...served, path, isComplete: false, release };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Takes the mount away, whoever uses it, and gives all blobs up. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    this.#closing.abort(new Error("the service is closed"));
    this.#tickets.ring();
    await Promise.all([...this.#shown.values()].map(({ fetcher }) => fetcher.close()));
    // Not a mere unmount: where somebody has copied the mount into a mount namespace of its own, it would live on there.
    await this.#mount.abort();
    await this.#storer.close();
  }

  /** One after the other: two clients that want one blob must not open it twice. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#opening.then(work);
    this.#opening = result.catch(() => {});
    return result;
  }

  /** The blob shown, or the complete one. */
  async #show(origin: BlobOrigin, layer: ErofsLayer): Promise<Shown | Served> {
    const contentHex = digestHex(layer.contentDigest);
    const store = await Store.open(this.#options.storeRoot);
    try {
      const path = store.blobPath(contentHex);
      const size = statSync(path, { throwIfNoEntry: false })?.size;
      if (size !== undefined && (await store.checkBlob(fileOf(contentHex, size))) === "good")
        return this.#holds.serveFrom(store, contentHex);
      const indexSources = this.#origins.indexSources(origin, layer);
      const { retry } = this.#options;
      const source =
        knownSource(store, layer) ?? (await fetchChunkIndex(layer, indexSources, retry, this.#closing.signal));
      if (source === undefined)
        throw new SourceError("ERR_UNSUPPORTED", `layer ${layer.descriptor.digest} has no chunk index to fetch it by`);
      const partial = await store.partials.open(source);
      if (partial === undefined) return this.#holds.serveFrom(store, contentHex);
      const known = this.#shown.get(partial.key);
      if (known !== undefined) {
        partial.close();
        return known;
      }
      return this.#add(partial, origin, layer);
    } finally {
      store.close();
    }
  }

  #add(partial: PartialBlob, origin: BlobOrigin, layer: ErofsLayer): Shown {
    const index = this.#table.add(partial.key, partial.shared);
    if (index < 0) {
      partial.close();
      throw new StoreError("ERR_STORE_LIMIT", partial.path, "too many blobs are served at a time");
    }
    this.#options.keeping?.shown(partial.key, notedOrigin(origin, layer));
    return this.#fetch(index, partial, origin, layer);
  }

  /** Fetches what is shown there as it is read. */
  #fetch(index: number, partial: PartialBlob, origin: BlobOrigin, layer: ErofsLayer): Shown {
    const sources = this.#origins.sources(origin, layer.descriptor.digest);
    const fetcher = new ChunkFetcher(partial, sources, this.#origins.line(origin), {
      onChunk: (chunk, isRead) => {
        this.#chunks++;
        this.#storedBytes += partial.index.storedBytes(chunk);
        if (!isRead) return;
        // Who has waited for it is told first.
        const [offset, bytes] = [partial.index.offset(chunk), partial.index.bytes(chunk)];
        setImmediate(() => this.#storer.store(this.#mount.deviceFd, index, offset, bytes));
      },
      onWhole: () => {
        this.#complete(partial).catch((error: Error) => this.#options.log(error.message));
      },
    });
    const shown = { key: partial.key, index, fetcher, path: join(this.#mount.target, partial.key), uses: 0 };
    this.#shown.set(partial.key, shown);
    this.#places.set(index, shown);
    return shown;
  }

  /** Clients of the service before may not have opened what they were given. */
  #keepAWhile(shown: Shown): void {
    shown.uses++;
    setTimeout(() => shown.uses--, GRACE_MS).unref();
  }

  async #complete(partial: PartialBlob): Promise<"named" | "mismatch"> {
    const store = await Store.open(this.#options.storeRoot);
    try {
      return await store.partials.complete(partial);
    } finally {
      store.close();
    }
  }

  #closeUnused(): void {
    // These first: they use the others.
    for (const index of this.#recorded.sweep()) this.#places.delete(index);
    for (const shown of this.#shown.values()) {
      if (shown.uses > 0 || !this.#table.remove(shown.index)) continue;
      this.#shown.delete(shown.key);
      this.#places.delete(shown.index);
      this.#options.keeping?.gone(shown.key);
      void shown.fetcher.close();
    }
  }
}

function fileOf(digestHex: string, size: number): StoredFile {
  return { digestHex, size, blocks: size / BLOCK_BYTES };
}
