/**
 * A table of slots of equal size in memory that threads share, each with a life of its own:
 *
 * ```
 *  FREE ──allocate, publish──► LIVE ──retire──► DYING ──the last pin goes──► CLOSING ──recycle──► FREE
 * ```
 * Whoever works with a slot pins it, so that what it holds (a descriptor) is not given back under a running operation:
 * the one that takes the last pin of a dying slot, or retires an unpinned one, closes it and recycles the slot. A slot is
 * known to the outside by an ID: its number and a generation, which changes each time it is recycled, so that an ID that
 * was made up or given back is recognised.
 *
 * Words of a slot (32 bits each): state, generation, pins, next; the owner's follow.
 */
export const SLOT_WORDS = 4;
const STATE = 0;
const GENERATION = 1;
const PINS = 2;
/** The next slot in whatever list the slot is in: the free ones, or one of the owner's while it lives. */
export const NEXT = 3;

const FREE = 0;
const LIVE = 1;
const DYING = 2;
const CLOSING = 3;

/** Words of the table's head: slots ever used, first free slot, slots in use. */
export const TABLE_HEAD_WORDS = 4;
const HIGH_WATER = 0;
const FIRST_FREE = 1;
const USED = 2;

/** Generations are below 2^11, so that an ID is below 2^43: a mount's number goes above it, see fuse/root. */
const GENERATION_MASK = 0x7ff;
const GENERATION_UNIT = 0x1_0000_0000;

/** Where a table lies. */
export interface SlotLayout {
  readonly words: Int32Array;
  /** Index in `words` of the table's head. */
  readonly head: number;
  /** Index of slot 0, which is never used. */
  readonly first: number;
  /** A slot's size: SLOT_WORDS and the owner's. */
  readonly slotWords: number;
  readonly capacity: number;
}

export class SlotTable {
  readonly words: Int32Array;
  /** Slots are numbered from 1 up to this. */
  readonly capacity: number;
  readonly #head: number;
  readonly #first: number;
  readonly #slotWords: number;
  readonly #onClose: (slot: number) => void;

  /** @param onClose gives back what a slot holds and recycles it; called without the owner's mutex. */
  constructor(layout: SlotLayout, onClose: (slot: number) => void) {
    this.words = layout.words;
    this.#head = layout.head;
    this.#first = layout.first;
    this.#slotWords = layout.slotWords;
    this.capacity = layout.capacity;
    this.#onClose = onClose;
  }

  /** Index in `words` of a slot's first word. */
  at(slot: number): number {
    return this.#first + slot * this.#slotWords;
  }
  /** Slots that are in use. */
  get used(): number {
    return this.words[this.#head + USED]!;
  }
  /** No slot above this was ever used. */
  get highWater(): number {
    return this.words[this.#head + HIGH_WATER]!;
  }
  idOf(slot: number): number {
    return this.words[this.at(slot) + GENERATION]! * GENERATION_UNIT + slot;
  }
  isLive(slot: number): boolean {
    return Atomics.load(this.words, this.at(slot) + STATE) === LIVE;
  }

  /**
   * Takes a free slot, which stays unseen until it is published. To be called with the owner's mutex held.
   * @returns 0 when all are taken.
   */
  allocate(): number {
    const { words } = this;
    const head = this.#head;
    let slot = words[head + FIRST_FREE]!;
    if (slot !== 0) words[head + FIRST_FREE] = words[this.at(slot) + NEXT]!;
    else {
      slot = words[head + HIGH_WATER]! + 1;
      if (slot > this.capacity) return 0;
      words[head + HIGH_WATER] = slot;
    }
    words[head + USED]!++;
    return slot;
  }

  /** Makes a filled slot seen. */
  publish(slot: number): void {
    Atomics.store(this.words, this.at(slot) + STATE, LIVE);
  }

  /**
   * Pins the slot that `id` names.
   * @returns the slot; 0 when there is none by that ID.
   */
  pin(id: number): number {
    const slot = id >>> 0;
    if (slot === 0 || slot > this.capacity) return 0;
    const at = this.at(slot);
    const { words } = this;
    Atomics.add(words, at + PINS, 1);
    if (Atomics.load(words, at + STATE) === LIVE && words[at + GENERATION]! * GENERATION_UNIT + slot === id)
      return slot;
    // Also a pin that was not meant may turn out to be the last one of a dying slot.
    this.unpin(slot);
    return 0;
  }

  unpin(slot: number): void {
    const at = this.at(slot);
    const { words } = this;
    if (Atomics.sub(words, at + PINS, 1) === 1 && Atomics.load(words, at + STATE) === DYING) this.#close(slot, at);
  }

  #close(slot: number, at: number): void {
    // Of those who find it dying and unpinned at the same time, one wins.
    if (Atomics.compareExchange(this.words, at + STATE, DYING, CLOSING) === DYING) this.#onClose(slot);
  }

  /** Whether somebody uses it. */
  isPinned(slot: number): boolean {
    return Atomics.load(this.words, this.at(slot) + PINS) !== 0;
  }

  /**
   * Ends a live slot: nobody can pin it any more, and it is closed at once or by the one with the last pin.
   * @returns false when it was not live.
   */
  retire(slot: number): boolean {
    const at = this.at(slot);
    if (Atomics.compareExchange(this.words, at + STATE, LIVE, DYING) !== LIVE) return false;
    if (Atomics.load(this.words, at + PINS) === 0) this.#close(slot, at);
    return true;
  }

  /** Gives a closed slot back. To be called with the owner's mutex held. */
  recycle(slot: number): void {
    const { words } = this;
    const at = this.at(slot);
    words[at + GENERATION] = (words[at + GENERATION]! + 1) & GENERATION_MASK;
    Atomics.store(words, at + STATE, FREE);
    words[at + NEXT] = words[this.#head + FIRST_FREE]!;
    words[this.#head + FIRST_FREE] = slot;
    words[this.#head + USED]!--;
  }

  /**
   * Makes the table whole after the process that used it was killed, before other threads use it: pins are gone, and
   * slots that were not published or were dying are free. Lists of the owner's must be made anew.
   */
  recover(): void {
    const { words } = this;
    const head = this.#head;
    words[head + FIRST_FREE] = 0;
    words[head + USED] = 0;
    words[head + HIGH_WATER] = Math.min(words[head + HIGH_WATER]!, this.capacity);
    for (let slot = this.highWater; slot > 0; slot--) {
      const at = this.at(slot);
      words[at + PINS] = 0;
      words[head + USED]!++;
      if (words[at + STATE] !== LIVE) this.recycle(slot);
    }
  }
}
