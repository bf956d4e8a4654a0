/** Takes the end mark off a stream: what comes before it goes on at once, what could be its beginning waits. */
export class EndMark {
  readonly #mark: Buffer;
  #held: Buffer = Buffer.alloc(0);
  #seen = false;

  /** @param mark Text that the stream's own bytes do not contain, but by a chance of 2^-128. */
  constructor(mark: string) {
    this.#mark = Buffer.from(mark);
  }

  /** Whether the mark has come: the stream is complete. */
  get seen(): boolean {
    return this.#seen;
  }

  /** The bytes that can be passed on now. */
  push(chunk: Uint8Array): Buffer {
    if (this.#seen) return Buffer.alloc(0);
    const bytes = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk]);
    const at = bytes.indexOf(this.#mark);
    if (at >= 0) {
      this.#seen = true;
      this.#held = Buffer.alloc(0);
      return bytes.subarray(0, at);
    }
    const keep = this.#startedAtEnd(bytes);
    this.#held = bytes.subarray(bytes.length - keep);
    return bytes.subarray(0, bytes.length - keep);
  }

  /** What was held back, when the stream ends without its mark. */
  rest(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  /** How many bytes at the end are the beginning of the mark. */
  #startedAtEnd(bytes: Buffer): number {
    for (let length = Math.min(this.#mark.length - 1, bytes.length); length > 0; length--)
      if (bytes.subarray(bytes.length - length).equals(this.#mark.subarray(0, length))) return length;
    return 0;
  }
}
