/** How chunks are fetched. */
export interface FetchOptions {
  /** Transfers from one source at a time. */
  readonly connections: number;
  /** Most bytes per second from one source; Infinity: no limit. */
  readonly bytesPerSecond: number;
  /** Stored bytes asked for at once, where neighbouring chunks are wanted. */
  readonly runBytes: number;
  /** A chunk of which nothing has come for so long, from any source, is given up: its readers get EIO. In ms. */
  readonly giveUpMs: number;
  /** The same while the last chunk was given up and nothing has come since: nobody waits long for a network that is down. */
  readonly offlineGiveUpMs: number;
  /** A chunk is given up after so long in any case, in ms. */
  readonly chunkMs: number;
  /** A source that sends nothing for so long is left for another attempt, in ms. */
  readonly stallMs: number;
  /** Wait before a source that has failed is asked again, in ms; each further wait is twice as long, up to `maxRetryMs`. */
  readonly retryMs: number;
  readonly maxRetryMs: number;
  /** Chunks read ahead of a sequential reader at most, in bytes of content. */
  readonly readAheadBytes: number;
}

export const DEFAULT_FETCH: FetchOptions = {
  connections: 6,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  runBytes: 4 << 20,
  giveUpMs: 30_000,
  offlineGiveUpMs: 2000,
  chunkMs: 300_000,
  stallMs: 10_000,
  retryMs: 200,
  maxRetryMs: 5000,
  readAheadBytes: 8 << 20,
};
