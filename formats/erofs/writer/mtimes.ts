/** A time as compact inodes show it: the superblock's epoch and fixed_nsec. */
export interface BuildTime {
  readonly seconds: number;
  readonly nanos: number;
}

/** Counts modification times, to find the one that the most inodes have. */
export class MtimeTally {
  // Whole seconds are the rule and number keys are quick; other times get a text key.
  readonly #ids = new Map<number | string, number>();
  readonly #counts: number[] = [];
  readonly #times: BuildTime[] = [];

  /** Counts a time. Equal times give equal ids. */
  add(seconds: number, nanos: number): number {
    const key = nanos === 0 ? seconds : `${seconds}.${nanos}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#counts.length;
      this.#ids.set(key, id);
      this.#counts.push(0);
      this.#times.push({ seconds, nanos });
    }
    this.#counts[id]!++;
    return id;
  }

  /**
   * The most common time, so that most inodes can be compact; the earliest of those when there are several. Times
   * before 1970 are passed over: old tools read the field unsigned. 1970 itself, with an id of no inode, when no time
   * is left.
   */
  mostCommon(): { id: number; time: BuildTime } {
    let best = -1;
    let time: BuildTime = { seconds: 0, nanos: 0 };
    for (let id = 0; id < this.#counts.length; id++) {
      if (this.#times[id]!.seconds < 0) continue;
      const lead = best < 0 ? 1 : this.#counts[id]! - this.#counts[best]!;
      if (lead < 0 || (lead === 0 && !isEarlier(this.#times[id]!, time))) continue;
      best = id;
      time = this.#times[id]!;
    }
    return { id: best, time };
  }
}

function isEarlier(a: BuildTime, b: BuildTime): boolean {
  return a.seconds < b.seconds || (a.seconds === b.seconds && a.nanos < b.nanos);
}
