import { createHash } from "node:crypto";
import type { BlobFile } from "./blob-file.ts";
import { type BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import type { StoreError } from "./errors.ts";

/** 2 MiB of a blob in memory. */
export interface Segment {
  readonly bytes: Uint8Array;
  /** Bytes before the hole at the segment's end, a multiple of 4096; SEGMENT_BYTES when there is none. */
  dataBytes: number;
}

/** The part of crypto.Hash used here. */
export interface Hasher {
  update(bytes: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

/**
 * The segments of a blob that are in memory, and their way to the disk: each is hashed and written once, in order of
 * index, and its buffer is kept until that write has completed.
 */
export class Segments {
  readonly #file: BlobFile;
  readonly #pool: BufferPool;
  readonly #hash: Hasher;
  /** By index: those before `floorIndex` are in flight, the others still the writer's. */
  readonly #live = new Map<number, Segment>();
  #floorIndex = 0;
  #inFlight = 0;
  #syncWrites = 0;
  #failure: StoreError | undefined;
  #waiting: (() => void)[] = [];

  constructor(file: BlobFile, pool: BufferPool, hash: Hasher = createHash("sha256")) {
    this.#file = file;
    this.#pool = pool;
    this.#hash = hash;
  }

  /** The first segment neither hashed nor handed to the disk. */
  get floorIndex(): number {
    return this.#floorIndex;
  }

  /** What the first write that failed failed with; the blob is lost then. */
  get failure(): StoreError | undefined {
    return this.#failure;
  }

  get inFlight(): number {
    return this.#inFlight;
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

  dropAll(): void {
    for (const index of [...this.#live.keys()]) this.drop(index);
  }

  /** Hashes segments up to `lastIndex` and starts writing them, as many as may be in flight. */
  flush(lastIndex: number): void {
    while (this.#floorIndex <= lastIndex && this.#inFlight < MAX_IN_FLIGHT) {
      const index = this.#floorIndex++;
      this.#inFlight++;
      this.#file.write(this.#hashed(index), index * SEGMENT_BYTES).then(
        () => this.#completed(index),
        (error: StoreError) => {
          this.#failure ??= error;
          this.#completed(index);
        },
      );
    }
  }

  /** Resolves when one of the writes in flight has ended, well or not (`failure`). */
  completion(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The digest of all segments, after the last. */
  digestHex(): string {
    return this.#hash.digest("hex");
  }

  #flushOneSync(): void {
    const index = this.#floorIndex++;
    this.#syncWrites++;
    try {
      this.#file.writeSync(this.#hashed(index), index * SEGMENT_BYTES);
    } catch (error) {
      this.#failure = error as StoreError;
      throw error;
    } finally {
      this.drop(index);
    }
  }

  /** Takes the segment into the hash; returns what of it has to be written. */
  #hashed(index: number): Uint8Array {
    const { bytes, dataBytes } = this.#live.get(index)!;
    this.#hash.update(bytes);
    return dataBytes === SEGMENT_BYTES ? bytes : bytes.subarray(0, dataBytes);
  }

  #completed(index: number): void {
    this.#inFlight--;
    this.drop(index);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/** Writes on their way at once. One fills the disk's queue; the second hides the time between two. */
const MAX_IN_FLIGHT = 2;
/**
 * Buffers per writer (16 MiB): one being filled, two retained, two in flight, and three for what a caller writes
 * before it drains: 1 MiB of tar full of tiny files is 4 MiB of blob.
 */
const BUFFERS = 8;
