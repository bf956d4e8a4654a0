import { type Place, type Problems, pathOf } from "./problems.ts";

/**
 * Which bytes of the image the metadata takes. In a sound image no two structures share a byte.
 *
 * Kept in plain arrays and sorted once at the end: a claim costs three pushes during the walk.
 */
export class Claims {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #owners: (Place | null)[] = [];

  add(place: Place | null, start: number, bytes: number): void {
    if (bytes <= 0) return;
    this.#starts.push(start);
    this.#ends.push(start + bytes);
    this.#owners.push(place);
  }

  /** Bytes claimed in all. */
  get bytes(): number {
    let sum = 0;
    for (let i = 0; i < this.#starts.length; i++) sum += this.#ends[i]! - this.#starts[i]!;
    return sum;
  }

  /** Reports claims that overlap the claim before them. */
  reportOverlaps(problems: Problems): void {
    const order = this.#inOrder();
    let last = -1;
    for (const i of order) {
      if (last !== -1 && this.#starts[i]! < this.#ends[last]!) {
        const other = this.#owners[last]!;
        const whose = other === null ? "the image's own tables" : `nid ${other.nid}, ${pathOf(other)}`;
        problems.add(
          this.#owners[i]!,
          "metadata",
          this.#starts[i]!,
          `${this.#ends[i]! - this.#starts[i]!} bytes overlap bytes ${this.#starts[last]!} to ${this.#ends[last]!} of ${whose}`,
        );
      }
      if (last === -1 || this.#ends[i]! > this.#ends[last]!) last = i;
    }
  }

  /** Reports runs of data blocks (see Runs) that touch a claim; `runs` sorted by start, in bytes. */
  reportData(problems: Problems, runs: readonly (readonly [start: number, end: number])[]): void {
    const order = this.#inOrder();
    let next = 0;
    for (const i of order) {
      while (next < runs.length && runs[next]![1] <= this.#starts[i]!) next++;
      const run = runs[next];
      if (run === undefined) return;
      if (run[0] < this.#ends[i]!)
        problems.add(
          this.#owners[i]!,
          "metadata",
          this.#starts[i]!,
          `file data at bytes ${run[0]} to ${run[1]} overlaps it`,
        );
    }
  }

  #inOrder(): Uint32Array {
    const order = Uint32Array.from(this.#starts, (_, i) => i);
    return order.sort((a, b) => this.#starts[a]! - this.#starts[b]!);
  }
}
