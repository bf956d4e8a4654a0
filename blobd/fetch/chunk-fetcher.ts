import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { PartialBlob } from "../store/index.ts";
import { ChunkBufferPool } from "./chunk-buffers.ts";
import { FetchError } from "./errors.ts";
import { AHEAD, DEMAND, type Line, PREFETCH, type Priority } from "./line.ts";
import { ReadAhead } from "./read-ahead.ts";
import { fetchRun } from "./run.ts";
import type { BlobSource } from "./source.ts";
import { SourceOrder } from "./source-order.ts";

/** A chunk that is wanted. */
interface Wanted {
  readonly chunk: number;
  priority: Priority;
  /** By a reader who waits, or is read ahead of. */
  isRead: boolean;
  /** Taken from the queue: on its way, or being fetched by another process. */
  isTaken: boolean;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What has been fetched, since the fetcher was made. */
export interface FetchCounts {
  chunks: number;
  /** As they came over the line. */
  storedBytes: number;
  /** Requests, or rather runs of chunks asked for together; repeated ones count once. */
  runs: number;
  /** Chunks that another process has fetched while somebody waited here. */
  foreignChunks: number;
  failedChunks: number;
}

/** Whom a fetcher tells of what has come. */
export interface FetchObserver {
  /** A chunk is kept, and who waited for it has been told. `isRead`: it was fetched for a reader, or ahead of one. */
  readonly onChunk?: (chunk: number, isRead: boolean) => void;
  /** All chunks are there. */
  readonly onWhole?: () => void;
}

/** First and longest pause between two looks at a chunk that another process fetches, in ms. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Fills one partial blob from its sources, as chunks are asked for.
 *
 *     read(offset, bytes) ──► wanted chunks ──► queue by priority ──► run: neighbours by one request ──► put ──► readers
 *                                ▲ read ahead, prefetch list
 *
 * - A chunk is fetched once, however many wait for it: in this process they share its entry, between processes its claim.
 * - What readers wait for goes before what is fetched ahead; an entry that a reader comes to wait for moves up.
 * - Nothing waits for ever: FetchOptions says how long, and then readers get a FetchError.
 */
export class ChunkFetcher {
  readonly partial: PartialBlob;
  readonly counts: FetchCounts = { chunks: 0, storedBytes: 0, runs: 0, foreignChunks: 0, failedChunks: 0 };
  readonly #what: string;
  readonly #line: Line;
  readonly #sources: SourceOrder;
  readonly #observer: FetchObserver;
  readonly #buffers: ChunkBufferPool;
  readonly #ahead: ReadAhead;
  readonly #wanted = new Map<number, Wanted>();
  /** By priority, in the order of asking. Entries that have moved up are left behind in their old queue. */
  readonly #queues: Wanted[][] = [[], [], []];
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #isWholeTold = false;

  /** @param partial it is closed by `close` */
  constructor(partial: PartialBlob, sources: readonly BlobSource[], line: Line, observer: FetchObserver = {}) {
    this.partial = partial;
    // Every wait listens to it.
    setMaxListeners(0, this.#closing.signal);
    this.#what = `blob ${partial.contentHex}`;
    this.#line = line;
    this.#sources = new SourceOrder(sources, line.options);
    this.#observer = observer;
    this.#buffers = new ChunkBufferPool(partial.index);
    const chunkBytes = partial.index.count > 0 ? partial.index.bytes(0) : 1;
    this.#ahead = new ReadAhead(partial.index.count, Math.floor(line.options.readAheadBytes / chunkBytes));
  }

  /** Whether all chunks of a range of content are there. */
  has(offset: number, bytes: number): boolean {
    const { index } = this.partial;
    const last = index.chunkAt(offset + bytes - 1);
    for (let chunk = index.chunkAt(offset); chunk <= last; chunk++) if (!this.partial.isPresent(chunk)) return false;
    return true;
  }

  /**
   * Sees to it that a range of content is there, and fetches ahead when it is one of many in a row.
   * @throws FetchError, StoreError
   */
  async ensure(offset: number, bytes: number): Promise<void> {
    this.#closing.signal.throwIfAborted();
    if (bytes === 0) return;
    const { index } = this.partial;
    const first = index.chunkAt(offset);
    const last = index.chunkAt(offset + bytes - 1);
    const ahead = this.#ahead.note(first, last);
    const waits: Promise<void>[] = [];
    for (let chunk = first; chunk <= last; chunk++)
      if (!this.partial.isPresent(chunk)) waits.push(this.#want(chunk, DEMAND, true));
    for (let chunk = ahead.from; chunk < ahead.to; chunk++)
      if (!this.partial.isPresent(chunk)) this.#want(chunk, AHEAD, true).catch(() => {});
    if (waits.length > 0) await Promise.all(waits);
  }

  /** Reads a range of content, fetching what is missing. @throws FetchError, StoreError */
  async read(into: Uint8Array, offset: number): Promise<void> {
    await this.ensure(offset, into.length);
    await this.partial.read(into, offset);
  }

  /** Fetches chunks when there is nothing more urgent, in this order; ends when they are there or cannot be had. */
  async prefetch(chunks: Iterable<number>): Promise<void> {
    this.#closing.signal.throwIfAborted();
    const waits: Promise<void>[] = [];
    for (const chunk of chunks)
      if (chunk >= 0 && chunk < this.partial.index.count && !this.partial.isPresent(chunk))
        waits.push(this.#want(chunk, PREFETCH).catch(() => {}));
    await Promise.all(waits);
  }

  /** The same for the chunks of a range of content, as far as it lies in the blob. */
  prefetchRange(offset: number, bytes: number): Promise<void> {
    const { index } = this.partial;
    const end = Math.min(index.size, offset + bytes);
    if (offset >= end) return Promise.resolve();
    const [first, last] = [index.chunkAt(offset), index.chunkAt(end - 1)];
    return this.prefetch(Array.from({ length: last + 1 - first }, (_, i) => first + i));
  }

  /** Fetches all that is missing. @throws FetchError, StoreError when a chunk cannot be had */
  async fetchAll(): Promise<void> {
    this.#closing.signal.throwIfAborted();
    const waits: Promise<void>[] = [];
    for (let chunk = 0; chunk < this.partial.index.count; chunk++)
      // Somebody waits for it: before what nobody waits for.
      if (!this.partial.isPresent(chunk)) waits.push(this.#want(chunk, AHEAD));
    await Promise.all(waits);
  }

  /** Gives everything up that is on its way and closes the blob. */
  async close(): Promise<void> {
    const reason = new FetchError("ERR_FETCH_CLOSED", `${this.#what}: closed`);
    this.#closing.abort(reason);
    this.#rejectQueued(reason);
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    this.#buffers.close();
    this.partial.close();
  }

  #want(chunk: number, priority: Priority, isRead = false): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(this.#closing.signal.reason);
    const known = this.#wanted.get(chunk);
    if (known !== undefined) {
      known.isRead ||= isRead;
      if (!known.isTaken && priority < known.priority) {
        known.priority = priority;
        this.#enqueue(known);
      }
      return known.done;
    }
    let resolve!: () => void;
    let reject!: (error: unknown) => void;
    const done = new Promise<void>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    done.catch(() => {}); // Who waits is told; somebody need not.
    const wanted: Wanted = { chunk, priority, isRead, isTaken: false, done, resolve, reject };
    this.#wanted.set(chunk, wanted);
    this.#enqueue(wanted);
    return done;
  }

  #enqueue(wanted: Wanted): void {
    this.#queues[wanted.priority]!.push(wanted);
    void this.#serve(wanted.priority);
  }

  /** Work that uses the blob: it ends before the blob is closed. It never fails. */
  async #track(work: Promise<void>): Promise<void> {
    this.#running.add(work);
    await work;
    this.#running.delete(work);
  }

  /** Waits for a place on the line, and then fetches what is most urgent by then. */
  async #serve(priority: Priority): Promise<void> {
    await this.#line.enter(priority);
    try {
      const run = this.#closing.signal.aborted ? [] : this.#takeRun();
      if (run.length > 0) await this.#track(this.#fetch(run));
    } finally {
      this.#line.leave();
    }
  }

  /** The most urgent chunk, and its neighbours as far as they are wanted too and are not too much for one request. */
  #takeRun(): Wanted[] {
    const { index } = this.partial;
    let first: Wanted | undefined;
    for (const queue of this.#queues)
      while (first === undefined && queue.length > 0) {
        const candidate = queue.shift()!;
        if (!candidate.isTaken && this.#claim(candidate)) first = candidate;
      }
    if (first === undefined) return [];
    const run = [first];
    let bytes = index.storedBytes(first.chunk);
    for (let chunk = first.chunk + 1; ; chunk++) {
      const next = this.#wanted.get(chunk);
      if (next === undefined || next.isTaken || index.storedOffset(chunk) !== endOf(index, chunk - 1)) break;
      bytes += index.storedBytes(chunk);
      if (bytes > this.#line.options.runBytes || !this.#claim(next)) break;
      run.push(next);
    }
    return run;
  }

  /** Takes a chunk for fetching, when nobody else fetches it and it is not there by now. */
  #claim(wanted: Wanted): boolean {
    const { chunk } = wanted;
    wanted.isTaken = true;
    if (!this.partial.tryClaim(chunk)) {
      void this.#track(this.#awaitForeign(wanted));
      return false;
    }
    if (!this.partial.isPresent(chunk)) return true;
    this.partial.release(chunk);
    this.counts.foreignChunks++;
    this.#settle(wanted);
    return false;
  }

  /** Waits for another process that has claimed the chunk; when it gives up or dies, the chunk is ours to fetch. */
  async #awaitForeign(wanted: Wanted): Promise<void> {
    const { chunk } = wanted;
    const { options } = this.#line;
    const deadline = performance.now() + options.chunkMs + options.giveUpMs;
    try {
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
        await sleep(pauseMs, undefined, { signal: this.#closing.signal });
        if (this.partial.isPresent(chunk)) {
          this.counts.foreignChunks++;
          return this.#settle(wanted);
        }
        if (this.partial.tryClaim(chunk)) {
          this.partial.release(chunk);
          wanted.isTaken = false;
          return this.#enqueue(wanted);
        }
        if (performance.now() > deadline)
          throw new FetchError("ERR_FETCH_OFFLINE", `${this.#what}: chunk ${chunk}: another process does not get it`);
      }
    } catch (error) {
      this.#settle(wanted, this.#closing.signal.aborted ? this.#closing.signal.reason : error);
    }
  }

  async #fetch(run: readonly Wanted[]): Promise<void> {
    const first = run[0]!.chunk;
    this.counts.runs++;
    try {
      await fetchRun(
        {
          what: this.#what,
          index: this.partial.index,
          sources: this.#sources,
          line: this.#line,
          buffers: this.#buffers,
          deliver: (chunk, content) => this.#deliver(run[chunk - first]!, content),
          signal: this.#closing.signal,
        },
        first,
        first + run.length - 1,
      );
    } catch (error) {
      const reason = this.#closing.signal.aborted ? this.#closing.signal.reason : error;
      for (const wanted of run) {
        if (this.#wanted.get(wanted.chunk) !== wanted) continue;
        this.partial.release(wanted.chunk);
        this.counts.failedChunks++;
        this.#settle(wanted, reason);
      }
      if (reason instanceof FetchError && reason.code === "ERR_FETCH_OFFLINE") {
        // They have waited for the same line. Who asks from now on is told sooner.
        this.#line.noteDown();
        this.#rejectQueued(reason);
      }
    }
  }

  async #deliver(wanted: Wanted, content: Uint8Array): Promise<void> {
    const { chunk } = wanted;
    await this.partial.put(chunk, content);
    this.partial.release(chunk);
    this.counts.chunks++;
    this.counts.storedBytes += this.partial.index.storedBytes(chunk);
    this.#settle(wanted);
    this.#observer.onChunk?.(chunk, wanted.isRead);
  }

  #settle(wanted: Wanted, error?: unknown): void {
    this.#wanted.delete(wanted.chunk);
    if (error === undefined) wanted.resolve();
    else wanted.reject(error);
    if (error !== undefined || this.#isWholeTold || this.#wanted.size > 0 || !this.partial.isWhole) return;
    this.#isWholeTold = true;
    this.#observer.onWhole?.();
  }

  #rejectQueued(reason: unknown): void {
    for (const queue of this.#queues)
      for (const wanted of queue.splice(0)) if (!wanted.isTaken) this.#settle(wanted, reason);
  }
}

function endOf(index: PartialBlob["index"], chunk: number): number {
  return index.storedOffset(chunk) + index.storedBytes(chunk);
}
