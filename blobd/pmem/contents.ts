/** Files in a window at most: what a vhost-user front-end keeps up with (QEMU 11.1 takes 5 ms a mapping at 800). */
export const MAX_FILES = 1024;

/** What has become of a file. */
export const PLACED = {
  /** Waits for a guest, or for its turn. */
  WANTED: 0,
  MAPPED: 1,
  /** The VMM has refused it: `error` says how. */
  FAILED: 2,
} as const;

// Words of a file.
const STATE = 0;
const ERROR = 1;
const FD = 2;
const SOURCE_FD = 3;
const WORDS = 4;
// Numbers of a file.
const OFFSET = 0;
const BYTES = 1;
const SIZE = 2;
const NUMBERS = 3;
/** Word 0: how many files there are. Word 1: whether a guest's driver uses the device. */
const HEAD_WORDS = 2;

/** A file's place in the window. In bytes, whole pages. */
export interface Placement {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * The files of a window, in memory that all threads of the device share: the main thread adds files, the queue's thread has them
 * mapped, the thread of the private views reads them. A file that was added stays.
 */
export class WindowContents {
  readonly memory: SharedArrayBuffer;
  readonly #numbers: Float64Array;
  readonly #words: Int32Array;

  /** @param memory of another thread's; new without it */
  constructor(memory = new SharedArrayBuffer(MAX_FILES * NUMBERS * 8 + (HEAD_WORDS + MAX_FILES * WORDS) * 4)) {
    this.memory = memory;
    this.#numbers = new Float64Array(memory, 0, MAX_FILES * NUMBERS);
    this.#words = new Int32Array(memory, MAX_FILES * NUMBERS * 8);
  }

  get count(): number {
    return Atomics.load(this.#words, 0);
  }

  /** Whether a guest's driver uses the device. */
  get isUsed(): boolean {
    return Atomics.load(this.#words, 1) !== 0;
  }
  setUsed(isUsed: boolean): void {
    Atomics.store(this.#words, 1, isUsed ? 1 : 0);
  }

  /** Whether a range of the window has a file. */
  overlaps({ offset, bytes }: Placement): boolean {
    for (let index = 0; index < this.count; index++)
      if (this.offset(index) < offset + bytes && offset < this.offset(index) + this.bytes(index)) return true;
    return false;
  }

  /** First byte behind all files. */
  get end(): number {
    let end = 0;
    for (let index = 0; index < this.count; index++) end = Math.max(end, this.offset(index) + this.bytes(index));
    return end;
  }

  /**
   * Notes the next file, which nobody maps before `publish`. One thread adds.
   * @param size of the file itself, which may end within the last page
   */
  put(place: Placement, sourceFd: number, size: number): number {
    const index = this.count;
    this.#numbers.set([place.offset, place.bytes, size], index * NUMBERS);
    this.#words[word(index, STATE)] = PLACED.WANTED;
    this.#words[word(index, ERROR)] = 0;
    this.#words[word(index, FD)] = -1;
    this.#words[word(index, SOURCE_FD)] = sourceFd;
    return index;
  }

  /** The file that `put` has noted is there. @param fd what the VMM is given */
  publish(index: number, fd: number): void {
    this.#words[word(index, FD)] = fd;
    Atomics.store(this.#words, 0, index + 1);
  }

  offset(index: number): number {
    return this.#numbers[index * NUMBERS + OFFSET]!;
  }
  bytes(index: number): number {
    return this.#numbers[index * NUMBERS + BYTES]!;
  }
  size(index: number): number {
    return this.#numbers[index * NUMBERS + SIZE]!;
  }
  fd(index: number): number {
    return this.#words[word(index, FD)]!;
  }
  sourceFd(index: number): number {
    return this.#words[word(index, SOURCE_FD)]!;
  }
  state(index: number): number {
    return Atomics.load(this.#words, word(index, STATE));
  }
  /** Why a file has failed: a positive error number. */
  error(index: number): number {
    return this.#words[word(index, ERROR)]!;
  }

  setState(index: number, state: number, error = 0): void {
    this.#words[word(index, ERROR)] = error;
    Atomics.store(this.#words, word(index, STATE), state);
  }
}

function word(index: number, field: number): number {
  return HEAD_WORDS + index * WORDS + field;
}
