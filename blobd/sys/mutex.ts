import { koffi } from "./koffi.ts";
import { libc, SYS } from "./libc.ts";

const FREE = 0;
const HELD = 1;
/** Held, and somebody may sleep in the kernel for it. */
const AWAITED = 2;

// linux/futex.h. Not the private kind: the memory may be shared between processes.
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
/** Attempts before a waiter goes to sleep: about as long as a short critical section lasts. */
const SPINS = 100;

/** Bytes of a mutex in memory, at an address that is a multiple of them. Zeroes are a free one. */
export const MUTEX_BYTES = 4;

/**
 * Mutual exclusion between threads, also of several processes, over four bytes of memory that they share. Atomics.wait
 * would be of no use: it takes a SharedArrayBuffer, and memory from mmap(2) is none.
 *
 * It is not recursive and has no owner: when a process dies inside, whoever looks after the memory calls `reset`. A worker
 * that holds one must not be terminated.
 */
export class Mutex {
  readonly #address: number;
  readonly #word: Int32Array;

  constructor(address: number) {
    this.#address = address;
    this.#word = new Int32Array(koffi().view(address, MUTEX_BYTES));
  }

  lock(): void {
    if (Atomics.compareExchange(this.#word, 0, FREE, HELD) !== FREE) this.#lockSlow();
  }

  unlock(): void {
    if (Atomics.exchange(this.#word, 0, FREE) === AWAITED)
      libc().futex(SYS.futex, this.#address, FUTEX_WAKE, 1, 0, 0, 0);
  }

  /** Frees it, whoever holds it. For when nobody can be inside or waiting any more. */
  reset(): void {
    Atomics.store(this.#word, 0, FREE);
  }

  #lockSlow(): void {
    for (let spin = 0; spin < SPINS; spin++) if (Atomics.compareExchange(this.#word, 0, FREE, HELD) === FREE) return;
    // From here on it is taken as AWAITED, since others may sleep too: at worst the unlock wakes nobody.
    while (Atomics.exchange(this.#word, 0, AWAITED) !== FREE)
      libc().futex(SYS.futex, this.#address, FUTEX_WAIT, AWAITED, 0, 0, 0);
  }
}
