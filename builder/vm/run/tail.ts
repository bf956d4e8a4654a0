/** Keeps the last bytes of a stream, as text for people. */
export class Tail {
  readonly #limit: number;
  #bytes: Buffer = Buffer.alloc(0);

  /** @param limit in bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Uint8Array): void {
    const all = Buffer.concat([this.#bytes, chunk]);
    this.#bytes = all.length > this.#limit ? Buffer.from(all.subarray(all.length - this.#limit)) : all;
  }

  /** The text, without what would act on a terminal. */
  text(): string {
    return this.#bytes.toString("utf8").replace(TERMINAL_SEQUENCE, "").replace(CONTROL_CHARACTERS, "").trim();
  }
}

const TERMINAL_SEQUENCE = /\p{Cc}\[[0-9;?]*[a-zA-Z]/gu;
const CONTROL_CHARACTERS = /(?!\n|\t)\p{Cc}/gu;
