import { type Sha256, sha256 } from "../sys/index.ts";
import type { BlobFile } from "./blob-file.ts";
import { type BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { type StoreError, storeError } from "./errors.ts";
import type { VerityLeaves } from "./verity-leaves.ts";

/** 2 MiB of a blob in memory. */
export interface Segment {
  readonly bytes: Uint8Array;
  /** Bytes before the hole at the segment's end, a multiple of 4096; SEGMENT_BYTES when there is none. */
  dataBytes: number;
}

/**
 * The segments of a blob that are in memory, and their way to hash and disk.
 *
 *     ... hashed │ flushed: being written, being hashed or waiting for it │ the writer's: filled or retained
 *          hashedIndex                                              floorIndex
 *
 * Each is written once and hashed once, in order, both on libuv's thread pool; its buffer is free again when both are
 * done. When all buffers are in use, one is written at once by this thread instead; if its turn to be hashed has not
 * come, it is read back when it does, so that memory stays bounded even if the event loop never runs.
 */
export class Segments {
  readonly #file: BlobFile;
  readonly #pool: BufferPool;
  readonly #hash: Sha256;
  /** The digests of its blocks are taken, too, for a hash tree. */
  readonly #leaves: VerityLeaves | undefined;
  /** By index. */
  readonly #live = new Map<number, Segment>();
  /** Of each flushed segment in memory: how many of writing, hashing and digesting are still to end. */
  readonly #steps = new Map<number, number>();
  /** Segments written before they were hashed, and their data bytes. */
  readonly #unhashed = new Map<number, number>();
  #floorIndex = 0;
  #hashedIndex = 0;
  #hashing = false;
  /** Writes and digests on their way. */
  #running = 0;
  #syncWrites = 0;
  #failure: StoreError | undefined;
  #waiting: (() => void)[] = [];

  constructor(file: BlobFile, pool: BufferPool, leaves?: VerityLeaves, hash: Sha256 = sha256()) {
    this.#file = file;
    this.#pool = pool;
    this.#leaves = leaves;
    this.#hash = hash;
  }

  /** The first segment not flushed. */
  get floorIndex(): number {
    return this.#floorIndex;
  }

  /** What the first write that failed failed with; the blob is lost then. */
  get failure(): StoreError | undefined {
    return this.#failure;
  }

  /** Whether something runs on the thread pool: buffers and file must stay. */
  get busy(): boolean {
    return this.#hashing || this.#running > 0;
  }

  get freeBuffers(): number {
    return BUFFERS - this.#live.size;
  }

  /** How often `add` had to wait for the disk. */
  get syncWrites(): number {
    return this.#syncWrites;
  }

  /** The segment, if it is in memory. */
  get(index: number): Segment | undefined {
    return this.#live.get(index);
  }

  /** A new segment; when all buffers are in use it waits until one before it is written. @throws StoreError */
  add(index: number): Segment {
    while (this.freeBuffers <= 0) this.#flushOneSync();
    const segment = { bytes: this.#pool.take(), dataBytes: SEGMENT_BYTES };
    this.#live.set(index, segment);
    return segment;
  }

  /** Forgets a segment that was not flushed. */
  drop(index: number): void {
    this.#pool.give(this.#live.get(index)!.bytes);
    this.#live.delete(index);
  }

  /** Starts writing segments up to `lastIndex`, as many as may be on their way. */
  flush(lastIndex: number): void {
    while (this.#floorIndex <= lastIndex && this.#steps.size < MAX_FLUSHED) {
      const index = this.#floorIndex++;
      const segment = this.#live.get(index)!;
      const leaves = this.#leaves?.closed === false ? this.#leaves : undefined;
      this.#steps.set(index, leaves === undefined ? 2 : 3);
      void this.#step(index, this.#file.write(dataOf(segment), index * SEGMENT_BYTES));
      if (leaves !== undefined) void this.#step(index, leaves.add(index, segment.bytes));
    }
    void this.#hashAll();
  }

  /**
   * Takes the digests of the blocks that are not flushed, up to `lastIndex`, of which `lastBytes` bytes count. They stay
   * the writer's.
   * @throws StoreError what anything on its way has failed with
   */
  async digestRest(leaves: VerityLeaves, lastIndex: number, lastBytes: number): Promise<void> {
    const digests: Promise<void>[] = [];
    for (let index = this.#floorIndex; index <= lastIndex; index++) {
      const { bytes } = this.#live.get(index)!;
      digests.push(leaves.add(index, index === lastIndex ? bytes.subarray(0, lastBytes) : bytes));
    }
    this.#running++;
    // All of them, when one has failed too: the others still read the buffers.
    for (const digest of await Promise.allSettled(digests)) if (digest.status === "rejected") this.#fail(digest.reason);
    this.#running--;
    this.#wake();
    while (this.busy) await this.completion();
    if (this.#failure) throw this.#failure;
  }

  /** Resolves when a step of something on the thread pool has ended, well or not (`failure`). */
  completion(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The digest of all segments, after the last. */
  digestHex(): string {
    if (this.#hashedIndex !== this.#floorIndex) throw new Error("Segments: digest before the last hash");
    return this.#hash.digestHex();
  }

  /** Gives all memory back. Not while `busy`. */
  free(): void {
    for (const index of [...this.#live.keys()]) this.drop(index);
    this.#hash.free();
  }

  async #step(index: number, step: Promise<void>): Promise<void> {
    this.#running++;
    try {
      await step;
    } catch (error) {
      this.#fail(error);
    }
    this.#running--;
    this.#stepEnded(index);
  }

  /** Hashes flushed segments in order, until there is none. */
  async #hashAll(): Promise<void> {
    if (this.#hashing) return;
    this.#hashing = true;
    for (; this.#hashedIndex < this.#floorIndex; this.#hashedIndex++) {
      const index = this.#hashedIndex;
      try {
        const dataBytes = this.#unhashed.get(index);
        if (dataBytes === undefined) await this.#hash.updateAsync(this.#live.get(index)!.bytes);
        else await this.#hashFromFile(index, dataBytes);
      } catch (error) {
        this.#fail(error);
      }
      this.#stepEnded(index);
    }
    this.#hashing = false;
    this.#wake();
  }

  async #hashFromFile(index: number, dataBytes: number): Promise<void> {
    this.#unhashed.delete(index);
    const bytes = this.#pool.take();
    try {
      this.#file.readSync(bytes.subarray(0, dataBytes), index * SEGMENT_BYTES);
      bytes.fill(0, dataBytes);
      await this.#hash.updateAsync(bytes);
    } finally {
      this.#pool.give(bytes);
    }
  }

  #flushOneSync(): void {
    const index = this.#floorIndex;
    const segment = this.#live.get(index)!;
    this.#syncWrites++;
    try {
      this.#file.writeSync(dataOf(segment), index * SEGMENT_BYTES);
      if (this.#leaves?.closed === false) this.#leaves.addSync(index, segment.bytes);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#floorIndex++;
    if (!this.#hashing && this.#hashedIndex === index) {
      this.#hash.update(segment.bytes);
      this.#hashedIndex++;
    } else {
      this.#unhashed.set(index, segment.dataBytes);
    }
    this.drop(index);
  }

  #stepEnded(index: number): void {
    const left = (this.#steps.get(index) ?? 0) - 1;
    if (left === 0) {
      this.#steps.delete(index);
      this.drop(index);
    } else if (left > 0) {
      this.#steps.set(index, left);
    }
    this.#wake();
  }

  #fail(error: unknown): void {
    this.#failure ??= storeError(error, this.#file.path, "writing");
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/** What of a segment has to be written. */
function dataOf({ bytes, dataBytes }: Segment): Uint8Array {
  return dataBytes === SEGMENT_BYTES ? bytes : bytes.subarray(0, dataBytes);
}

/** Segments on their way at once. One write fills the disk's queue; the others are hashed meanwhile, or wait for it. */
const MAX_FLUSHED = 3;
/**
 * Buffers per writer (16 MiB): one being filled, two retained, three on their way, and two for what a caller writes
 * before it drains: 1 MiB of tar full of tiny files is 4 MiB of blob.
 */
const BUFFERS = 8;
