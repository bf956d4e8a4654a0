import type { SharedBlob } from "../../store/index.ts";
import { mapShared, memfd, viewMemory } from "../../sys/index.ts";

/** Most blobs that are shown at a time: far more than one host's images have that are not complete. */
export const MAX_BLOBS = 1024;
/** A name is 64 hex digits. */
export const NAME_BYTES = 64;

/** 32-bit words of an entry: these, then the name. */
const ENTRY_WORDS = 7 + NAME_BYTES / 4;
const STATE = 0;
const GENERATION = 1;
const OPENINGS = 2;
const CHUNKS = 3;
const FD = 4;
const DIRECT_FD = 5;
/** Uses of the service itself, which end with its process. */
const USES = 6;
/** Numbers of 64 bits of an entry. */
const ENTRY_NUMBERS = 4;
const SIZE = 0;
const STATES_ADDRESS = 1;
const OFFSETS_ADDRESS = 2;
/** Of the memory in which is noted what is read, or 0. */
const ORDER_ADDRESS = 3;
const FREE = 0;
const SHOWN = 1;
/** About to be taken away: nobody new may open it, who has it open reads on. */
const CLOSING = 2;

/** Node ID of the directory. */
export const ROOT_ID = 1;

const TABLE_BYTES = MAX_BLOBS * (ENTRY_NUMBERS * 8 + ENTRY_WORDS * 4) + 4;

/** Where a table lies, for threads and processes that are to have it too: memory of this process, or a memfd that outlives it. */
export type TableMemory = SharedArrayBuffer | { readonly fd: number };

/** A memfd for a table. */
export function tableFd(): number {
  return memfd("blobd-serve", TABLE_BYTES);
}

/**
 * The blobs that a mount shows, in memory that its threads share: the service adds and removes them, threads look them up.
 * A place that is used again has another generation, so that a node ID means one blob for ever.
 */
export class BlobTable {
  readonly memory: TableMemory;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #numbers: Float64Array;

  /** @param memory of another's table; new without it */
  constructor(memory: TableMemory = new SharedArrayBuffer(TABLE_BYTES)) {
    this.memory = memory;
    const buffer = "fd" in memory ? viewMemory(mapShared(memory.fd, 0, TABLE_BYTES), TABLE_BYTES) : memory;
    this.#numbers = new Float64Array(buffer, 0, MAX_BLOBS * ENTRY_NUMBERS);
    this.#words = new Int32Array(buffer, MAX_BLOBS * ENTRY_NUMBERS * 8);
    this.#bytes = new Uint8Array(buffer, MAX_BLOBS * ENTRY_NUMBERS * 8);
  }

  /**
   * Shows a blob, which stays open until `remove` has succeeded.
   * @param orderAddress of memory for an AccessOrder, when it is to be noted what is read
   * @returns its place, or -1 when there is no room
   */
  add(name: string, blob: SharedBlob, orderAddress = 0): number {
    for (let index = 0; index < MAX_BLOBS; index++) {
      if (this.#load(index, STATE) !== FREE || this.#load(index, OPENINGS) !== 0) continue;
      this.#bytes.set(Buffer.from(name, "latin1"), this.#nameAt(index));
      this.#setBlob(index, blob, orderAddress);
      Atomics.add(this.#words, index * ENTRY_WORDS + GENERATION, 1);
      Atomics.store(this.#words, index * ENTRY_WORDS + STATE, SHOWN);
      return index;
    }
    return -1;
  }

  /** Takes a blob away, unless somebody has it open. @returns whether it is gone */
  remove(index: number): boolean {
    // Who opens it now counts itself first and then looks: one of us sees the other.
    Atomics.store(this.#words, index * ENTRY_WORDS + STATE, CLOSING);
    const isFree = this.#load(index, OPENINGS) === 0 && this.#load(index, USES) === 0;
    Atomics.store(this.#words, index * ENTRY_WORDS + STATE, isFree ? FREE : SHOWN);
    return isFree;
  }

  /** What is shown, for a process that takes over from one that has died. */
  shown(): { readonly index: number; readonly name: string }[] {
    const found: { index: number; name: string }[] = [];
    for (let index = 0; index < MAX_BLOBS; index++)
      if (this.#load(index, STATE) !== FREE)
        found.push({ index, name: Buffer.from(this.nameBytes(index)).toString("latin1") });
    return found;
  }

  /** This process has what is shown there as `blob`; who has it open reads on. */
  takeOver(index: number, blob: SharedBlob): void {
    this.#setBlob(index, blob, 0);
    Atomics.store(this.#words, index * ENTRY_WORDS + USES, 0);
    Atomics.store(this.#words, index * ENTRY_WORDS + STATE, SHOWN);
  }
  /** Nobody has any more what is shown there: who has it open gets errors. */
  giveUp(index: number): void {
    // The process that has died gives its uses back no more.
    Atomics.store(this.#words, index * ENTRY_WORDS + USES, 0);
    Atomics.store(this.#words, index * ENTRY_WORDS + STATE, FREE);
  }

  /** Keeps a blob that somebody has open from being taken away, until `unuse`. @returns whether there is such a one */
  use(index: number): boolean {
    Atomics.add(this.#words, index * ENTRY_WORDS + USES, 1);
    if (this.isShown(index) && this.#load(index, OPENINGS) > 0) return true;
    this.unuse(index);
    return false;
  }
  unuse(index: number): void {
    Atomics.sub(this.#words, index * ENTRY_WORDS + USES, 1);
  }

  /** Counts an opening. @returns false when the blob is not shown any more */
  open(index: number): boolean {
    Atomics.add(this.#words, index * ENTRY_WORDS + OPENINGS, 1);
    if (this.isShown(index)) return true;
    this.release(index);
    return false;
  }
  release(index: number): void {
    Atomics.sub(this.#words, index * ENTRY_WORDS + OPENINGS, 1);
  }

  isShown(index: number): boolean {
    return this.#load(index, STATE) === SHOWN;
  }
  size(index: number): number {
    return this.#numbers[index * ENTRY_NUMBERS + SIZE]!;
  }
  blob(index: number): SharedBlob {
    const [words, numbers] = [index * ENTRY_WORDS, index * ENTRY_NUMBERS];
    return {
      size: this.size(index),
      chunks: this.#words[words + CHUNKS]!,
      fd: this.#words[words + FD]!,
      directFd: this.#words[words + DIRECT_FD]!,
      statesAddress: this.#numbers[numbers + STATES_ADDRESS]!,
      offsetsAddress: this.#numbers[numbers + OFFSETS_ADDRESS]!,
    };
  }
  /** Where is noted what is read of it; 0: nowhere. */
  orderAddress(index: number): number {
    return this.#numbers[index * ENTRY_NUMBERS + ORDER_ADDRESS]!;
  }
  /** The next turn of an access that is noted, from 1 on. */
  nextTurn(): number {
    return Atomics.add(this.#words, MAX_BLOBS * ENTRY_WORDS, 1) + 1;
  }
  /** A view. */
  nameBytes(index: number): Uint8Array {
    const at = this.#nameAt(index);
    return this.#bytes.subarray(at, at + NAME_BYTES);
  }

  nodeId(index: number): number {
    return this.#load(index, GENERATION) * MAX_BLOBS + index + ROOT_ID + 1;
  }
  /** The place of a node, or -1 when it is none, or not any more. */
  indexOf(nodeId: number): number {
    const index = this.placeOf(nodeId);
    return index >= 0 && this.#load(index, STATE) !== FREE ? index : -1;
  }
  /** The same, also of a node that was given up: who has it open still counts there. */
  placeOf(nodeId: number): number {
    const index = (nodeId - ROOT_ID - 1) % MAX_BLOBS;
    return nodeId > ROOT_ID && this.nodeId(index) === nodeId ? index : -1;
  }

  /** The place of the name that lies at `at` of `bytes`, or -1. */
  find(bytes: Uint8Array, at: number, length: number): number {
    if (length !== NAME_BYTES) return -1;
    search: for (let index = 0; index < MAX_BLOBS; index++) {
      if (!this.isShown(index)) continue;
      const nameAt = this.#nameAt(index);
      for (let i = 0; i < NAME_BYTES; i++) if (this.#bytes[nameAt + i] !== bytes[at + i]) continue search;
      return index;
    }
    return -1;
  }

  #setBlob(index: number, blob: SharedBlob, orderAddress: number): void {
    const numbers = [blob.size, blob.statesAddress, blob.offsetsAddress, orderAddress];
    this.#numbers.set(numbers, index * ENTRY_NUMBERS);
    this.#words.set([blob.chunks, blob.fd, blob.directFd], index * ENTRY_WORDS + CHUNKS);
  }
  #load(index: number, word: number): number {
    return Atomics.load(this.#words, index * ENTRY_WORDS + word);
  }
  #nameAt(index: number): number {
    return (index * ENTRY_WORDS + USES + 1) * 4;
  }
}
