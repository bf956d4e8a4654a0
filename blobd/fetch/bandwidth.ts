import { setTimeout as sleep } from "node:timers/promises";

/** Bytes may come this much ahead of their time, in ms: a limit is one over longer times, not for each packet. */
const BURST_MS = 100;

/** A limit on bytes per second, shared by all transfers that pass through it. */
export class Bandwidth {
  readonly #bytesPerMs: number;
  /** When the bytes that have passed were due. */
  #paidMs = 0;

  /** @param bytesPerSecond Infinity: no limit */
  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Waits until `bytes` more may have passed. @throws the signal's reason */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerMs === Number.POSITIVE_INFINITY) return;
    const now = performance.now();
    this.#paidMs = Math.max(this.#paidMs, now - BURST_MS) + bytes / this.#bytesPerMs;
    if (this.#paidMs > now) await sleep(this.#paidMs - now, undefined, { signal });
  }
}
