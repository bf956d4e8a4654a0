import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import type { VerityRoot } from "../../formats/verity/index.ts";
import type { BlobFile } from "./blob-file.ts";
import { SEGMENT_BYTES } from "./buffer-pool.ts";
import { StoreError } from "./errors.ts";
import type { Segment, Segments } from "./segments.ts";
import type { VerityLeaves } from "./verity-leaves.ts";

/**
 * Writes one blob in order while its sha256 is taken, and can take back what it wrote last.
 *
 *     0           flushed            floor                          position
 *     │ on disk, or on its way │ retained: at least RETAIN_BYTES │ free │
 *     └────────── segments of 2 MiB, each in a buffer until its write has completed ──────┘
 *
 * Invariants
 * - A segment is hashed and written once, in order, when all of it lies RETAIN_BYTES behind: `rewind` never reaches it, so
 *   the hash never has to forget. Both happen on the thread pool; this thread only copies.
 * - No byte is lost and memory stays bounded whatever the caller does: who never drains makes `write` wait for the disk
 *   (synchronously) once BUFFERS buffers are in use.
 * - Every byte up to the final size is content: a hole reads as zeros and is hashed as zeros, it just is not written.
 *   The size is a multiple of 2 MiB, as virtio-pmem wants it; the rest behind the last block is a hole too.
 */
export class BlobWriter {
  readonly #file: BlobFile;
  readonly #segments: Segments;
  readonly #maxBytes: number;
  readonly #commit: Commit;
  readonly #leaves: VerityLeaves | undefined;
  /** The segment that holds `position - 1`. At the start and after a rewind to `floor` that is none (NO_SEGMENT). */
  #current: Segment = NO_SEGMENT;
  #currentIndex = -1;
  /** Where the next byte goes in the current segment: 1 to SEGMENT_BYTES; when it is full the next write opens one. */
  #at = SEGMENT_BYTES;
  #state: "open" | "finishing" | "closed" = "open";
  readonly #scratch: [Uint8Array, Uint8Array] = [NO_SEGMENT.bytes, NO_SEGMENT.bytes];

  /** Made by `Store.createBlob`. */
  constructor(file: BlobFile, segments: Segments, maxBytes: number, commit: Commit, leaves?: VerityLeaves) {
    this.#file = file;
    this.#segments = segments;
    this.#maxBytes = maxBytes;
    this.#commit = commit;
    this.#leaves = leaves;
  }

  /** Where the next byte goes, in bytes from the start of the blob. */
  get position(): number {
    return this.#currentIndex * SEGMENT_BYTES + this.#at;
  }

  /** The lowest position that `rewind` takes now: at most the highest position so far less RETAIN_BYTES. */
  get floor(): number {
    return this.#segments.floorIndex * SEGMENT_BYTES;
  }

  /** How often `write` had to wait for the disk because nobody drained: 0 for a well-behaved caller. */
  get syncWrites(): number {
    return this.#segments.syncWrites;
  }

  /**
   * Starts a file's data at the next 4 KiB boundary (filled up with zeros) or the next 2 MiB boundary (a hole).
   * Returns the block it starts at, in 4 KiB blocks.
   * @throws StoreError what an earlier write in the background failed with
   */
  begin(alignBytes: typeof BLOCK_SIZE | typeof SEGMENT_BYTES = BLOCK_SIZE): number {
    this.#check();
    const rest = this.#at % alignBytes;
    if (rest !== 0) {
      const start = this.#at;
      this.#at += alignBytes - rest;
      this.#current.bytes.fill(0, start, this.#at);
      if (alignBytes === SEGMENT_BYTES) this.#current.dataBytes = Math.ceil(start / BLOCK_SIZE) * BLOCK_SIZE;
    }
    return this.position / BLOCK_SIZE;
  }

  /**
   * Appends `bytes[start, end)`; they are copied. Returns whether the caller should `await drain()` soon: it may go on
   * for some 1 MiB of input before it does.
   * @throws StoreError ERR_STORE_LIMIT when the blob would grow beyond `maxBytes`, holes counted; or what an earlier
   * write in the background failed with
   */
  write(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    this.#check();
    if (this.position + (end - start) > this.#maxBytes) throw this.#beyondLimit(end - start);
    while (start < end) {
      if (this.#at === SEGMENT_BYTES) this.#open(this.#currentIndex + 1);
      const length = Math.min(end - start, SEGMENT_BYTES - this.#at);
      this.#current.bytes.set(bytes.subarray(start, start + length), this.#at);
      this.#at += length;
      start += length;
    }
    return this.needsDrain;
  }

  /** Whether fewer than DRAIN_BUFFERS buffers are free. */
  get needsDrain(): boolean {
    return this.#segments.freeBuffers < DRAIN_BUFFERS;
  }

  /** Resolves when there is room to go on without waiting. @throws StoreError when the disk refused something. */
  async drain(): Promise<void> {
    this.#check();
    this.#segments.flush(this.#behindRetained);
    while (this.needsDrain) {
      await this.#segments.completion();
      this.#check();
      this.#segments.flush(this.#behindRetained);
    }
  }

  /**
   * Takes back everything from `position` on (a byte position, where `position` stood before): it never was written.
   * Anything within RETAIN_BYTES of the highest position ever reached can be taken back, which is a whole small file,
   * or a chunk of a large one with the hole before it.
   * @throws RangeError when it lies before `floor` or ahead of `position`: a mistake of the caller
   */
  rewind(position: number): void {
    this.#check();
    if (position < this.floor || position > this.position)
      throw new RangeError(`rewind to ${position}: expected ${this.floor} to ${this.position}`);
    const index = Math.ceil(position / SEGMENT_BYTES) - 1;
    for (let dropped = this.#currentIndex; dropped > index; dropped--) this.#segments.drop(dropped);
    this.#currentIndex = index;
    this.#at = position - index * SEGMENT_BYTES;
    this.#current = index < this.#segments.floorIndex ? NO_SEGMENT : this.#segments.get(index)!;
    // A hole that starts behind, or is cut by, the new position is gone: its zeros before that are data now.
    if (this.#at < SEGMENT_BYTES) this.#current.dataBytes = SEGMENT_BYTES;
  }

  /**
   * `length` bytes written before, from `position` on: from the buffers, or read back from the file. A view that lasts
   * until the next call of any method.
   * @throws StoreError when they cannot be read back; RangeError when they were not written
   */
  read(position: number, length: number): Uint8Array {
    return this.#read(position, length, 0);
  }

  /**
   * Whether two ranges written before hold the same bytes: the test of a dedup candidate.
   * @throws StoreError, RangeError like `read`
   */
  sameBytes(positionA: number, positionB: number, length: number): boolean {
    for (let done = 0; done < length; done += COMPARE_BYTES) {
      const piece = Math.min(COMPARE_BYTES, length - done);
      const a = this.#read(positionA + done, piece, 0);
      if (Buffer.compare(a, this.#read(positionB + done, piece, 1)) !== 0) return false;
    }
    return true;
  }

  /**
   * Completes the blob: puts its hash tree behind it if there is to be one, pads it, waits for the disk, and puts it into
   * the store under its digest (if it is there already, ours is dropped). Undefined when nothing was written: there is no empty blob.
   * @throws StoreError; the blob is then aborted
   */
  async finish(): Promise<FinishedBlob | undefined> {
    try {
      if (this.position === 0) {
        await this.abort();
        return undefined;
      }
      const dataBlocks = this.begin(BLOCK_SIZE);
      const verity = this.#leaves && (await this.#appendTree(this.#leaves, dataBlocks));
      this.begin(SEGMENT_BYTES);
      this.#state = "finishing";
      const segments = this.#segments;
      for (segments.flush(this.#currentIndex); segments.busy; segments.flush(this.#currentIndex)) {
        await segments.completion();
        if (segments.failure) throw segments.failure;
      }
      const size = this.position;
      const digestHex = segments.digestHex();
      await this.#commit.done(this.#file, digestHex, size);
      this.#state = "closed";
      segments.free();
      return { digestHex, size, blocks: size / BLOCK_SIZE, dataBlocks, ...(verity && { verity }) };
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  async #appendTree(leaves: VerityLeaves, dataBlocks: number): Promise<VerityRoot> {
    await this.#segments.digestRest(leaves, this.#currentIndex, this.#at);
    const { rootHex, pieces } = leaves.close(dataBlocks);
    for (const piece of pieces) if (this.write(piece)) await this.drain();
    return { dataBlocks, rootHex };
  }

  /** Gives the blob up and removes its file. Fine to call at any time, also twice or after `finish`. */
  async abort(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    while (this.#segments.busy) await this.#segments.completion();
    this.#segments.free();
    this.#commit.drop(this.#file);
  }

  #check(): void {
    if (this.#segments.failure) throw this.#segments.failure;
    if (this.#state !== "open") throw new Error("BlobWriter: used after finish or abort");
  }

  /** The last segment that no rewind can ask for any more. */
  get #behindRetained(): number {
    return this.#currentIndex - 1 - RETAIN_BYTES / SEGMENT_BYTES;
  }

  #open(index: number): void {
    this.#currentIndex = index;
    this.#segments.flush(this.#behindRetained);
    this.#current = this.#segments.add(index);
    this.#at = 0;
  }

  #read(position: number, length: number, slot: 0 | 1): Uint8Array {
    this.#check();
    if (position < 0 || length < 0 || position + length > this.position)
      throw new RangeError(`read of ${length} bytes at ${position}: ${this.position} were written`);
    const index = Math.floor(position / SEGMENT_BYTES);
    const at = position - index * SEGMENT_BYTES;
    const segment = this.#segments.get(index);
    if (segment && at + length <= SEGMENT_BYTES) return segment.bytes.subarray(at, at + length);
    if (this.#scratch[slot].length < length) this.#scratch[slot] = new Uint8Array(Math.max(length, COMPARE_BYTES));
    const into = this.#scratch[slot].subarray(0, length);
    for (let done = 0; done < length; ) done += this.#readPiece(into, done, position + done);
    return into;
  }

  /** Reads into `into` from `done` on, up to the end of the segment that `position` is in. Returns the bytes read. */
  #readPiece(into: Uint8Array, done: number, position: number): number {
    const index = Math.floor(position / SEGMENT_BYTES);
    const at = position - index * SEGMENT_BYTES;
    const length = Math.min(into.length - done, SEGMENT_BYTES - at);
    const segment = this.#segments.get(index);
    if (segment) into.set(segment.bytes.subarray(at, at + length), done);
    else this.#file.readSync(into.subarray(done, done + length), position);
    return length;
  }

  #beyondLimit(length: number): StoreError {
    const message = `writing ${this.#file.path}: ${length} bytes at ${this.position} exceed the limit of ${this.#maxBytes} bytes`;
    return new StoreError("ERR_STORE_LIMIT", this.#file.path, message);
  }
}

/** What `finish` has put into the store. */
export interface FinishedBlob {
  /** sha256 of the file, 64 hex digits: its name in the store. */
  readonly digestHex: string;
  /** Size of the file in bytes, a multiple of 2 MiB. */
  readonly size: number;
  /** The same in 4 KiB blocks: the size of its slot in a device table. */
  readonly blocks: number;
  /** How many of the blocks lie before hash tree and padding; holes between files are among them. */
  readonly dataBlocks: number;
  /** When it was made with a hash tree. */
  readonly verity?: VerityRoot;
}

/** Where a writer leaves its file: sealed and renamed to its digest, or removed. Either closes it. */
export interface Commit {
  /** @throws StoreError; the file is then still the writer's, which drops it. */
  done(file: BlobFile, digestHex: string, sizeBytes: number): Promise<void>;
  drop(file: BlobFile): void;
}

/** How far `rewind` reaches back: a chunk of 2 MiB and the hole before it. */
export const RETAIN_BYTES = 2 * SEGMENT_BYTES;
/** Free buffers below which `write` asks for a drain: 4 MiB, see BUFFERS. */
const DRAIN_BUFFERS = 2;
/** How much `sameBytes` compares at once: large enough to make a read from disk cheap, small enough for the cache. */
const COMPARE_BYTES = 256 * 1024;

const NO_SEGMENT: Segment = { bytes: new Uint8Array(0), dataBytes: SEGMENT_BYTES };
