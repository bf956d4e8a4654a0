import { Bandwidth } from "./bandwidth.ts";
import type { FetchOptions } from "./options.ts";

/** Who waits for a chunk: a reader; a reader that will come to it soon; nobody yet. */
export const DEMAND = 0;
export const AHEAD = 1;
export const PREFETCH = 2;
export type Priority = typeof DEMAND | typeof AHEAD | typeof PREFETCH;
const PRIORITIES = [DEMAND, AHEAD, PREFETCH] as const;

/**
 * The line to one place (a registry with its mirrors, a server, a folder), shared by all blobs that come from there: how many
 * transfers there are at a time, how fast they may be together, and whether anything comes at all.
 */
export class Line {
  readonly options: FetchOptions;
  readonly bandwidth: Bandwidth;
  readonly #waiting: (() => void)[][] = PRIORITIES.map(() => []);
  #busy = 0;
  #isDown = false;

  constructor(options: FetchOptions) {
    this.options = options;
    this.bandwidth = new Bandwidth(options.bytesPerSecond);
  }

  /** Resolves when it is the caller's turn for a transfer; `leave` ends it. The more urgent come first. */
  enter(priority: Priority): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting[priority]!.push(resolve);
      this.#admit();
    });
  }

  leave(): void {
    this.#busy--;
    this.#admit();
  }

  /** Whether the last chunk that was asked for could not be had, and nothing has come since. */
  get isDown(): boolean {
    return this.#isDown;
  }
  /** How long a chunk of which nothing comes is waited for, in ms. */
  get giveUpMs(): number {
    return this.#isDown ? this.options.offlineGiveUpMs : this.options.giveUpMs;
  }
  noteReceived(): void {
    this.#isDown = false;
  }
  noteDown(): void {
    this.#isDown = true;
  }

  #admit(): void {
    for (const priority of PRIORITIES) {
      // One place is kept for readers, where there are several: what nobody waits for must not hold them up.
      const places = priority === DEMAND ? this.options.connections : Math.max(1, this.options.connections - 1);
      const waiting = this.#waiting[priority]!;
      while (this.#busy < places && waiting.length > 0) {
        this.#busy++;
        waiting.shift()!();
      }
    }
  }
}
