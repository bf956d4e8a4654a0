import type { FetchOptions } from "./options.ts";
import type { BlobSource } from "./source.ts";

/** How long a source that has no use for a blob (not found, not allowed) is left out, in ms. */
const REFUSED_MS = 60_000;

interface State {
  readonly source: BlobSource;
  failures: number;
  /** Not to be asked before, on performance.now()'s clock. */
  notBeforeMs: number;
}

/** The sources of one blob in the order in which they are asked, and how each of them has fared. */
export class SourceOrder {
  readonly #states: State[];
  readonly #options: FetchOptions;

  constructor(sources: readonly BlobSource[], options: FetchOptions) {
    this.#states = sources.map((source) => ({ source, failures: 0, notBeforeMs: 0 }));
    this.#options = options;
  }

  get length(): number {
    return this.#states.length;
  }

  /** The source to ask next, and how long to wait before, in ms: 0 as long as one is not known to fail. */
  next(excluded: ReadonlySet<BlobSource>): { source: BlobSource; waitMs: number } | undefined {
    let best: State | undefined;
    const now = performance.now();
    for (const state of this.#states) {
      if (excluded.has(state.source)) continue;
      if (best === undefined || Math.max(state.notBeforeMs, now) < Math.max(best.notBeforeMs, now)) best = state;
    }
    return best && { source: best.source, waitMs: Math.max(0, best.notBeforeMs - now) };
  }

  succeeded(source: BlobSource): void {
    const state = this.#stateOf(source);
    state.failures = 0;
    state.notBeforeMs = 0;
  }

  /** @param retryAfterMs what the source asks for, if it does */
  failed(source: BlobSource, retryAfterMs = 0): void {
    const state = this.#stateOf(source);
    const { retryMs, maxRetryMs } = this.#options;
    const wait = Math.min(maxRetryMs, retryMs * 2 ** Math.min(state.failures, 20)) * (0.5 + Math.random() / 2);
    state.failures++;
    state.notBeforeMs = performance.now() + Math.max(wait, Math.min(retryAfterMs, maxRetryMs));
  }

  refused(source: BlobSource): void {
    const state = this.#stateOf(source);
    state.failures++;
    state.notBeforeMs = performance.now() + REFUSED_MS;
  }

  #stateOf(source: BlobSource): State {
    return this.#states.find((state) => state.source === source)!;
  }
}
