import { setTimeout as sleep } from "node:timers/promises";
import type { ChunkIndex } from "../../formats/chunk-index/index.ts";
import { PassingError, SourceError } from "../registry/index.ts";
import { sha256Of } from "../sys/index.ts";
import type { ChunkBufferPool, ChunkBuffers } from "./chunk-buffers.ts";
import { FetchError } from "./errors.ts";
import type { Line } from "./line.ts";
import type { BlobSource } from "./source.ts";
import type { SourceOrder } from "./source-order.ts";

/** Chunks with wrong bytes that are taken from each source before a run is given up. */
const MAX_CORRUPT = 3;

/** What a run works with. */
export interface RunContext {
  /** The blob, for errors. */
  readonly what: string;
  readonly index: ChunkIndex;
  readonly sources: SourceOrder;
  readonly line: Line;
  readonly buffers: ChunkBufferPool;
  /** Takes a chunk's verified content, valid until the promise settles. @throws StoreError */
  readonly deliver: (chunk: number, content: Uint8Array) => Promise<void>;
  readonly signal: AbortSignal;
}

/** A chunk whose stored bytes have another digest than the index says, or do not unpack to what it says. */
class CorruptChunk extends Error {}

/**
 * Fetches chunks `first` to `last`, whose stored bytes lie one behind the other, by as few requests as it takes: each chunk is
 * checked, unpacked and delivered as soon as its last byte is there, while the next one comes.
 *
 *     bytes   │ chunk 7      │ chunk 8           │ chunk 9 …
 *     pool                   │ check, unpack 7, write │ check, unpack 8 …
 *
 * @throws FetchError when the rest cannot be had; StoreError when a chunk cannot be kept; the signal's reason
 */
export async function fetchRun(context: RunContext, first: number, last: number): Promise<void> {
  const run = new Run(context, first, last);
  const useless = new Set<BlobSource>();
  const said = new Map<BlobSource, string>();
  let corrupt = 0;
  while (!run.isDone) {
    const next = context.sources.next(useless);
    if (next === undefined) throw run.failure("ERR_FETCH_REFUSED", said);
    const leftMs = run.leftMs();
    if (leftMs <= 0 || next.waitMs >= leftMs) throw run.failure("ERR_FETCH_OFFLINE", said);
    if (next.waitMs > 0) await sleep(next.waitMs, undefined, { signal: context.signal });
    try {
      await run.attempt(next.source);
      context.sources.succeeded(next.source);
    } catch (error) {
      context.signal.throwIfAborted();
      said.set(next.source, (error as Error).message);
      if (error instanceof CorruptChunk) {
        context.sources.failed(next.source);
        if (++corrupt >= MAX_CORRUPT * context.sources.length) throw run.failure("ERR_FETCH_REFUSED", said);
      } else if (error instanceof PassingError) context.sources.failed(next.source, error.retryAfterMs);
      else if (error instanceof SourceError) {
        context.sources.refused(next.source);
        useless.add(next.source);
      } else throw error;
    }
  }
}

class Run {
  readonly #context: RunContext;
  readonly #last: number;
  /** The first chunk that has not been delivered. */
  #next: number;
  /** When it became the first one, and when something of it came last. On performance.now()'s clock. */
  #chunkStartMs = performance.now();
  #receivedMs = this.#chunkStartMs;

  constructor(context: RunContext, first: number, last: number) {
    this.#context = context;
    this.#next = first;
    this.#last = last;
  }

  get isDone(): boolean {
    return this.#next > this.#last;
  }

  /** How long the next chunk may still be waited for, in ms. */
  leftMs(): number {
    const { giveUpMs, options } = this.#context.line;
    return Math.min(this.#receivedMs + giveUpMs, this.#chunkStartMs + options.chunkMs) - performance.now();
  }

  /** Reads from one source until the run is done or something fails. */
  async attempt(source: BlobSource): Promise<void> {
    const { index, line, signal } = this.#context;
    const start = index.storedOffset(this.#next);
    const end = index.storedOffset(this.#last) + index.storedBytes(this.#last);
    const either = new AbortController();
    const abort = () => either.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const watch = setInterval(() => {
      if (this.leftMs() <= 0) either.abort(new PassingError("ERR_NETWORK", `${source.name}: too slow`));
    }, WATCH_MS);
    const receiver = new Receiver(this.#context, this.#next, (chunk) => this.#delivered(chunk));
    try {
      for await (const piece of source.read(start, end - start, either.signal)) {
        this.#receivedMs = performance.now();
        line.noteReceived();
        await line.bandwidth.take(piece.length, either.signal);
        await receiver.push(piece);
      }
      await receiver.settle();
      if (!this.isDone) throw new PassingError("ERR_LENGTH", `${source.name}: the transfer ended early`);
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", abort);
      // A chunk that is whole is kept, whatever has become of the transfer.
      await receiver.close();
    }
  }

  failure(code: FetchError["code"], said: ReadonlyMap<BlobSource, string>): FetchError {
    const { what } = this.#context;
    const all = [...said.values()].join("; ");
    return new FetchError(code, `${what}: chunk ${this.#next} cannot be had: ${all || "no source answered in time"}`);
  }

  #delivered(chunk: number): void {
    this.#next = chunk + 1;
    this.#chunkStartMs = performance.now();
    this.#receivedMs = this.#chunkStartMs;
  }
}

/** How often a transfer is looked at for being too slow, in ms. */
const WATCH_MS = 250;

/** Puts the pieces of a transfer together to chunks, and works on one while the next one comes. */
class Receiver {
  readonly #context: RunContext;
  readonly #onDelivered: (chunk: number) => void;
  #chunk: number;
  #filled = 0;
  #buffers: ChunkBuffers | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(context: RunContext, chunk: number, onDelivered: (chunk: number) => void) {
    this.#context = context;
    this.#chunk = chunk;
    this.#onDelivered = onDelivered;
  }

  /** @throws what became of an earlier chunk */
  async push(piece: Uint8Array): Promise<void> {
    const { index, buffers } = this.#context;
    for (let at = 0; at < piece.length; ) {
      this.#buffers ??= buffers.take();
      const wanted = index.storedBytes(this.#chunk);
      const length = Math.min(piece.length - at, wanted - this.#filled);
      this.#buffers.stored.bytes.set(piece.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === wanted) await this.#hand();
    }
  }

  /** Waits for the chunk in work. @throws what became of it */
  settle(): Promise<void> {
    return this.#working;
  }

  /** Waits for the chunk in work, whatever becomes of it, and gives the memory back. */
  async close(): Promise<void> {
    await this.#working.catch(() => {});
    if (this.#buffers !== undefined) this.#context.buffers.give(this.#buffers);
    this.#buffers = undefined;
  }

  async #hand(): Promise<void> {
    await this.#working;
    const buffers = this.#buffers!;
    this.#buffers = undefined;
    this.#filled = 0;
    this.#working = this.#finish(this.#chunk++, buffers).finally(() => this.#context.buffers.give(buffers));
    this.#working.catch(() => {}); // It is reported when it is awaited.
  }

  async #finish(chunk: number, buffers: ChunkBuffers): Promise<void> {
    const { index, deliver } = this.#context;
    const stored = buffers.stored.bytes.subarray(0, index.storedBytes(chunk));
    if (!(await sha256Of(stored)).equals(index.checksum(chunk)))
      throw new CorruptChunk(`chunk ${chunk} came with a wrong checksum`);
    const bytes = index.bytes(chunk);
    const decoded = await buffers.decode(stored.length, bytes);
    if (decoded !== bytes)
      throw new CorruptChunk(
        `chunk ${chunk} does not unpack to ${bytes} bytes: ${typeof decoded === "string" ? decoded : `found ${decoded}`}`,
      );
    await deliver(chunk, buffers.content.bytes.subarray(0, bytes));
    this.#onDelivered(chunk);
  }
}
