/** Words of 32 bits that a session takes. */
export const SESSION_WORDS = 8;

// Which word holds what.
const STATE = 0;
const MINOR = 1;
const FLAGS = 2;
const FLAGS2 = 3;

const STARTED = 1;

/**
 * What kernel and server have agreed on at INIT. It lies in memory that the caller gives: threads that serve one mount,
 * and a process that goes on where another was killed, find it there.
 */
export class FuseSession {
  readonly #words: Int32Array;

  /** @param words SESSION_WORDS of memory that all threads of the mount share, zero at first. */
  constructor(words: Int32Array) {
    if (words.length < SESSION_WORDS)
      throw new RangeError(`a session takes ${SESSION_WORDS} words, got ${words.length}`);
    this.#words = words;
  }

  /** Whether an INIT has succeeded and no DESTROY followed. */
  get isStarted(): boolean {
    return Atomics.load(this.#words, STATE) === STARTED;
  }
  /** The kernel's minor version, FUSE_MINOR at most. */
  get minor(): number {
    return this.#words[MINOR]!;
  }
  /** InitFlag of what both sides do. */
  get flags(): number {
    return this.#words[FLAGS]!;
  }
  /** InitFlag2 of what both sides do. */
  get flags2(): number {
    return this.#words[FLAGS2]!;
  }

  start(minor: number, flags: number, flags2: number): void {
    this.#words[MINOR] = minor;
    this.#words[FLAGS] = flags;
    this.#words[FLAGS2] = flags2;
    Atomics.store(this.#words, STATE, STARTED);
  }
  end(): void {
    Atomics.store(this.#words, STATE, 0);
  }
}
