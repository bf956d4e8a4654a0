/** What is told apart in what is read of a blob, in bytes: less than any chunk, no less than what one page fault reads. */
export const ACCESS_UNIT_BYTES = 64 << 10;

/** Bytes of memory that the order of a blob's accesses takes: an Int32 for each unit. */
export function accessOrderBytes(size: number): number {
  return 4 * Math.ceil(size / ACCESS_UNIT_BYTES);
}

/** Large reads of a part this long are refused so often: as many pages as are a unit, which was read then. */
const REFUSED_BYTES = 1 << 20;
const REFUSALS = 16;

/**
 * In which order a blob's parts were first read: each unit's turn, from 1 on, 0 for never. Several threads note what they
 * are asked for; turns are shared by all blobs, so that their orders can be laid together.
 */
export class AccessOrder {
  readonly #turns: Int32Array;
  readonly #next: () => number;
  readonly #refusals: Uint8Array;

  /**
   * @param turns zeros at first; shared with other threads
   * @param next tells the next turn, to every thread another
   */
  constructor(turns: Int32Array, next: () => number) {
    this.#turns = turns;
    this.#next = next;
    this.#refusals = new Uint8Array(Math.ceil((turns.length * ACCESS_UNIT_BYTES) / REFUSED_BYTES));
  }

  /**
   * Whether a read that is larger than what somebody has asked for is to be refused, so that it comes again as that alone:
   * not for ever, because each page would come alone then.
   */
  isRefused(offset: number): boolean {
    const part = Math.floor(offset / REFUSED_BYTES);
    const count = this.#refusals[part];
    if (count === undefined || count === REFUSALS) return false;
    this.#refusals[part] = count + 1;
    return true;
  }

  note(offset: number, bytes: number): void {
    const last = Math.min(this.#turns.length - 1, Math.floor((offset + bytes - 1) / ACCESS_UNIT_BYTES));
    for (let unit = Math.floor(offset / ACCESS_UNIT_BYTES); unit <= last; unit++)
      if (Atomics.load(this.#turns, unit) === 0) Atomics.compareExchange(this.#turns, unit, 0, this.#next());
  }
}
