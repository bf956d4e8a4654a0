/** Most reads that wait for data at a time; more wait for a ticket. Linux has some hundred requests in flight at most. */
const MAX_TICKETS = 1024;

// Words of a ticket.
const STATE = 0;
const BLOB = 1;
const BYTES = 2;
const ERRNO = 3;
const UNIQUE_LOW = 4;
const UNIQUE_HIGH = 5;
const INTERRUPTED = 6;
const TICKET_WORDS = 8;

// States. A thread: FREE → TAKEN → WANTED; the service: WANTED → SEEN → DONE or FAILED; the thread: → FREE.
const FREE = 0;
const TAKEN = 1;
const WANTED = 2;
const SEEN = 3;
const DONE = 4;
const FAILED = 5;

/** What has become of a ticket: it is waited for, its data are there, or a positive error number. */
export type TicketState = "waiting" | "done" | number;

/** A range of a blob that somebody waits for. */
export interface WantedRange {
  readonly ticket: number;
  readonly blob: number;
  readonly offset: number;
  readonly bytes: number;
  /** When: see `sharedMs`. */
  readonly askedMs: number;
}

/** Milliseconds on a clock that all threads of a process share. */
export function sharedMs(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * How threads that serve reads and the service that fetches speak with each other: by shared memory, because a thread waits
 * in a system call and could take no message. The service sleeps until a thread rings.
 */
export class Tickets {
  readonly memory: SharedArrayBuffer;
  /** Word 0 counts rings, word 1 hits; tickets follow behind. */
  readonly #words: Int32Array;
  readonly #offsets: Float64Array;
  readonly #askedMs: Float64Array;
  #next = 0;

  constructor(memory = new SharedArrayBuffer(MAX_TICKETS * 16 + 8 + MAX_TICKETS * TICKET_WORDS * 4)) {
    this.memory = memory;
    this.#offsets = new Float64Array(memory, 0, MAX_TICKETS);
    this.#askedMs = new Float64Array(memory, MAX_TICKETS * 8, MAX_TICKETS);
    this.#words = new Int32Array(memory, MAX_TICKETS * 16);
  }

  /** Asks for a range. @returns the ticket, or -1 when there is none left */
  ask(blob: number, offset: number, bytes: number, unique: bigint): number {
    for (let tried = 0; tried < MAX_TICKETS; tried++) {
      const ticket = this.#next;
      this.#next = (this.#next + 1) % MAX_TICKETS;
      if (Atomics.compareExchange(this.#words, at(ticket, STATE), FREE, TAKEN) !== FREE) continue;
      this.#words[at(ticket, BLOB)] = blob;
      this.#words[at(ticket, BYTES)] = bytes;
      this.#words[at(ticket, UNIQUE_LOW)] = Number(BigInt.asIntN(32, unique));
      this.#words[at(ticket, UNIQUE_HIGH)] = Number(BigInt.asIntN(32, unique >> 32n));
      this.#words[at(ticket, INTERRUPTED)] = 0;
      this.#offsets[ticket] = offset;
      this.#askedMs[ticket] = sharedMs();
      Atomics.store(this.#words, at(ticket, STATE), WANTED);
      this.ring();
      return ticket;
    }
    return -1;
  }

  /** A read that needs no ticket. */
  noteHit(): void {
    Atomics.add(this.#words, 1, 1);
  }
  /** How many of those there were, modulo 2^32. */
  get hits(): number {
    return Atomics.load(this.#words, 1) >>> 0;
  }

  state(ticket: number): TicketState {
    const state = Atomics.load(this.#words, at(ticket, STATE));
    if (state === DONE) return "done";
    return state === FAILED ? this.#words[at(ticket, ERRNO)]! : "waiting";
  }
  isInterrupted(ticket: number): boolean {
    return Atomics.load(this.#words, at(ticket, INTERRUPTED)) !== 0;
  }
  /** Gives a ticket back: when it is done or has failed, or, as `forget`, when nobody waits any more. */
  free(ticket: number): void {
    Atomics.store(this.#words, at(ticket, STATE), FREE);
  }
  /** Whether a ticket that is still waited for may be freed: not while the service works on it. */
  forget(ticket: number): boolean {
    return Atomics.compareExchange(this.#words, at(ticket, STATE), WANTED, FREE) === WANTED;
  }

  /** Marks the ticket of a request that need not be finished; in whatever thread it is. */
  interrupt(unique: bigint): void {
    const low = Number(BigInt.asIntN(32, unique));
    const high = Number(BigInt.asIntN(32, unique >> 32n));
    for (let ticket = 0; ticket < MAX_TICKETS; ticket++) {
      if (Atomics.load(this.#words, at(ticket, STATE)) === FREE) continue;
      if (this.#words[at(ticket, UNIQUE_LOW)] === low && this.#words[at(ticket, UNIQUE_HIGH)] === high)
        Atomics.store(this.#words, at(ticket, INTERRUPTED), 1);
    }
  }

  /** The service: what is wanted and has not been seen before. */
  *take(): Generator<WantedRange> {
    for (let ticket = 0; ticket < MAX_TICKETS; ticket++) {
      if (Atomics.compareExchange(this.#words, at(ticket, STATE), WANTED, SEEN) !== WANTED) continue;
      const [blob, bytes] = [this.#words[at(ticket, BLOB)]!, this.#words[at(ticket, BYTES)]!];
      yield { ticket, blob, offset: this.#offsets[ticket]!, bytes, askedMs: this.#askedMs[ticket]! };
    }
  }
  /** The service: whether somebody waits for some of a range. */
  isWaitedFor(blob: number, offset: number, bytes: number): boolean {
    for (let ticket = 0; ticket < MAX_TICKETS; ticket++) {
      const state = Atomics.load(this.#words, at(ticket, STATE));
      if ((state !== WANTED && state !== SEEN) || this.#words[at(ticket, BLOB)] !== blob) continue;
      const start = this.#offsets[ticket]!;
      if (start < offset + bytes && offset < start + this.#words[at(ticket, BYTES)]!) return true;
    }
    return false;
  }
  /** The service: a ticket's data are there, or cannot be had. */
  settle(ticket: number, errno = 0): void {
    this.#words[at(ticket, ERRNO)] = errno;
    Atomics.store(this.#words, at(ticket, STATE), errno === 0 ? DONE : FAILED);
  }

  /** Wakes the service. */
  ring(): void {
    Atomics.add(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
  }
  /** How often was rung. */
  get rings(): number {
    return Atomics.load(this.#words, 0);
  }
  /** Waits for a ring after the first `rings`. */
  async waitForRing(rings: number): Promise<void> {
    const wait = (Atomics as unknown as AsyncAtomics).waitAsync(this.#words, 0, rings);
    if (wait.async) await wait.value;
  }
}

/** ECMAScript 2024, which Node.js 20 has and our declarations have not. */
interface AsyncAtomics {
  waitAsync(words: Int32Array, index: number, value: number): { readonly async: boolean; readonly value: unknown };
}

function at(ticket: number, word: number): number {
  return 2 + ticket * TICKET_WORDS + word;
}
