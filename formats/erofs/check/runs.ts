/** Runs of blocks of one device that files use, some of them several times. */
export class Runs {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Blocks used, each as often as it is used. */
  referencedBlocks = 0;

  add(start: number, blocks: number): void {
    this.#starts.push(start);
    this.#ends.push(start + blocks);
    this.referencedBlocks += blocks;
  }

  /** The union of the runs, sorted: disjoint and not touching. */
  union(): [start: number, end: number][] {
    const order = Uint32Array.from(this.#starts, (_, i) => i);
    order.sort((a, b) => this.#starts[a]! - this.#starts[b]!);
    const merged: [number, number][] = [];
    for (const i of order) {
      const last = merged.at(-1);
      if (last !== undefined && this.#starts[i]! <= last[1]) last[1] = Math.max(last[1], this.#ends[i]!);
      else merged.push([this.#starts[i]!, this.#ends[i]!]);
    }
    return merged;
  }
}
