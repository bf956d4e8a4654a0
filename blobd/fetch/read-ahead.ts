/** Sequential readers of one blob that are followed at a time. */
const MAX_STREAMS = 16;

interface Stream {
  /** The chunk after the last one that was read. */
  next: number;
  /** The chunk up to which has been read ahead. */
  ahead: number;
  /** Chunks to be ahead. */
  window: number;
  /** Chunks read in a row. */
  length: number;
}

/** A program or library that is read here and there is often this long in chunks: it is no sequence yet. */
const MIN_SEQUENCE = 3;

/**
 * Finds sequential readers among the chunks that are read, and says what to fetch ahead of them: nothing for the first
 * chunks, one chunk for the third in a row, then twice as many each time, up to a limit.
 */
export class ReadAhead {
  readonly #maxChunks: number;
  readonly #chunks: number;
  /** Most recently used last. */
  readonly #streams: Stream[] = [];

  /**
   * @param chunks of the blob
   * @param maxChunks to be ahead at most; 0: never
   */
  constructor(chunks: number, maxChunks: number) {
    this.#chunks = chunks;
    this.#maxChunks = maxChunks;
  }

  /**
   * Notes that chunks `first` to `last` are read.
   * @returns the chunks to fetch ahead, from `from` up to, not including, `to`; often none
   */
  note(first: number, last: number): { from: number; to: number } {
    const at = this.#streams.findIndex(({ next }) => next === first || next === first + 1);
    const [stream] = at < 0 ? [] : this.#streams.splice(at, 1);
    if (stream === undefined) {
      if (this.#streams.length === MAX_STREAMS) this.#streams.shift();
      this.#streams.push({ next: last + 1, ahead: last + 1, window: 0, length: last + 1 - first });
      return { from: last + 1, to: last + 1 };
    }
    this.#streams.push(stream);
    const moved = last + 1 > stream.next;
    stream.next = Math.max(stream.next, last + 1);
    // Reads within the chunk read last are no news.
    if (moved) stream.length += last + 1 - first;
    if (moved && stream.length >= MIN_SEQUENCE)
      stream.window = Math.min(this.#maxChunks, Math.max(1, 2 * stream.window));
    const from = Math.max(stream.ahead, stream.next);
    const to = Math.min(this.#chunks, stream.next + stream.window);
    // In larger steps than single chunks, so that neighbours come by one request.
    if (to <= from || (to - from < stream.window / 2 && to < this.#chunks)) return { from, to: from };
    stream.ahead = to;
    return { from, to };
  }
}
