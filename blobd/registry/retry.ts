import { setTimeout as delay } from "node:timers/promises";
import { SourceError, type SourceErrorCode } from "../../formats/oci/index.ts";

/** How often and how patiently a request is tried again. */
export interface RetryPolicy {
  /** Attempts in all, the first included. */
  readonly tries: number;
  /** Wait before the second attempt; each further wait is twice as long, up to `maxDelayMs`. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** A server's Retry-After is honoured up to this. */
  readonly maxRetryAfterMs: number;
  /** A server that sends nothing for so long is given up: the attempt counts as failed. */
  readonly stallMs: number;
  /** Waits; replaced in tests. */
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<unknown>;
  /** Told why, before each wait. */
  readonly onRetry?: (reason: string) => void;
}

/** 1 s, 2 s, 4 s, 8 s with jitter: enough for a registry's restart or a rate limit, short enough to watch. */
export const DEFAULT_RETRY: RetryPolicy = {
  tries: 5,
  baseDelayMs: 1000,
  maxDelayMs: 30_000,
  maxRetryAfterMs: 120_000,
  stallMs: 30_000,
  sleep: (ms, signal) => delay(ms, undefined, signal && { signal }),
};

/** A failure that may pass: what is thrown when no attempt is left is a SourceError, this never leaves the folder. */
export class PassingError extends SourceError {
  /** What the server asked for, if it did. */
  readonly retryAfterMs: number | undefined;

  constructor(code: SourceErrorCode, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(code, message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Counts the failures of one operation, and waits between its attempts. */
export class Attempts {
  readonly #policy: RetryPolicy;
  readonly #signal: AbortSignal | undefined;
  #failed = 0;

  constructor(policy: RetryPolicy, signal: AbortSignal | undefined) {
    this.#policy = policy;
    this.#signal = signal;
  }

  /** Forgets earlier failures: the operation has moved on since. */
  progressed(): void {
    this.#failed = 0;
  }

  /**
   * Takes a failure and returns when it is time for the next attempt.
   * @throws `error` when it is not one that passes, SourceError when too many attempts failed
   */
  async failed(error: unknown): Promise<void> {
    this.#signal?.throwIfAborted();
    if (!(error instanceof PassingError)) throw error;
    this.#failed++;
    const { tries, baseDelayMs, maxDelayMs, maxRetryAfterMs, sleep } = this.#policy;
    if (this.#failed >= tries)
      throw new SourceError(error.code, `${error.message} (gave up after ${tries} attempts)`, { cause: error });
    this.#policy.onRetry?.(error.message);
    // Full waits would make all layers of an image come back in the same moment.
    const wait = Math.min(maxDelayMs, baseDelayMs * 2 ** (this.#failed - 1)) * (0.5 + Math.random() / 2);
    try {
      await sleep(Math.max(wait, Math.min(error.retryAfterMs ?? 0, maxRetryAfterMs)), this.#signal);
    } finally {
      this.#signal?.throwIfAborted();
    }
  }
}

/** Runs `attempt` until it succeeds, fails for good, or has failed too often. */
export async function retrying<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
): Promise<T> {
  const attempts = new Attempts(policy, signal);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      await attempts.failed(error);
    }
  }
}

/** Retry-After in ms: seconds, or a date. RFC 9110, 10.2.3. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
