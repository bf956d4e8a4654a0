import { allocAligned, type Decoder, type DecodeStatus, type NativeBuffer } from "../../blobd/sys/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import { InputPieces } from "./input.ts";

/** What surrounds the units (deflate streams, zstd frames) that a Decoder decodes. */
export interface Framing {
  /** The format's name, for errors. */
  readonly name: string;
  /** Uses up input before the next unit; returns whether the decoder is to go on (`input` may be empty then). */
  beforeUnit(input: InputPieces): boolean;
  /** A unit has ended; `outputBytes` is what it gave. */
  unitEnd(outputBytes: number): void;
  /** The input has ended. @throws FormatError when it is not complete. */
  inputEnd(offset: number): void;
}

/** Sizes of the buffers, in bytes. There are two of each. */
export interface Sizes {
  readonly inputBytes: number;
  readonly outputBytes: number;
}

/** A unit below this size, in and out, is decoded in less time than a trip to the thread pool and back takes. */
const SMALL_UNIT_BYTES = 64 << 10;

/**
 * Decompresses with a native decoder. Its steps run on libuv's thread pool, on two output buffers in turn:
 *
 *     this thread   │ use A ────────────│ use B ────────────│ use A …
 *     pool          │ decode into B ─│    decode into A ─│    decode into B …
 *
 * A piece is valid until the next one is asked for. Streams of many small units (eStargz has one for each file) are
 * decoded on this thread as long as they stay small, within SMALL_UNIT_BYTES a step.
 */
export async function* decompressNative(
  source: AsyncIterable<Uint8Array>,
  decoder: Decoder,
  framing: Framing,
  sizes: Sizes,
): AsyncGenerator<Uint8Array, void> {
  const stream = new NativeStream(source, decoder, framing, sizes);
  try {
    let next = stream.produce();
    for (;;) {
      const piece = await next;
      if (piece.length > 0) {
        next = stream.produce();
        next.catch(() => {}); // It is reported when it is awaited; the consumer may return before.
        yield piece;
      } else return;
    }
  } finally {
    await stream.close();
  }
}

class NativeStream {
  readonly #input: InputPieces;
  readonly #decoder: Decoder;
  readonly #framing: Framing;
  readonly #outputs: readonly [NativeBuffer, NativeBuffer];
  #turn: 0 | 1 = 0;
  /** Whether the last step stopped for want of input: only then is more input of any use. */
  #hungry = true;
  /** Output of the current unit so far, in bytes. */
  #unitBytes = 0;
  /** Whether the last unit was small, so that the next one may be. */
  #small = false;
  /** The step on the thread pool, while there is one. */
  #running: Promise<DecodeStatus> | null = null;
  #closed = false;

  constructor(source: AsyncIterable<Uint8Array>, decoder: Decoder, framing: Framing, sizes: Sizes) {
    this.#input = new InputPieces(source, sizes.inputBytes);
    this.#decoder = decoder;
    this.#framing = framing;
    this.#outputs = [allocAligned(sizes.outputBytes), allocAligned(sizes.outputBytes)];
  }

  /** Fills the next output buffer; a piece is short only at the end of the stream, and then empty. */
  async produce(): Promise<Uint8Array> {
    const output = this.#outputs[this.#turn];
    this.#turn = this.#turn === 0 ? 1 : 0;
    let filled = 0;
    while (filled < output.bytes.length && !this.#closed) {
      const inUnit = this.#framing.beforeUnit(this.#input);
      if (this.#input.pos === this.#input.end && (this.#hungry || !inUnit)) {
        if (await this.#input.advance()) continue;
        if (!this.#closed) this.#framing.inputEnd(this.#input.offset);
        break;
      }
      if (inUnit) filled = await this.#step(output, filled);
    }
    return output.bytes.subarray(0, filled);
  }

  /** One step of the decoder; returns the new fill of `output`. */
  async #step(output: NativeBuffer, filled: number): Promise<number> {
    const decoder = this.#decoder;
    const input = this.#input;
    const most = this.#small ? SMALL_UNIT_BYTES : Number.MAX_SAFE_INTEGER;
    const given = Math.min(input.end - input.pos, most);
    const room = Math.min(output.bytes.length - filled, most);
    decoder.setInput(input.address + input.pos, given);
    decoder.setOutput(output.address + filled, room);
    const status = this.#small ? decoder.step() : await this.#onPool();
    if (this.#closed) return filled;
    const used = given - decoder.inputLeft();
    const made = room - decoder.outputLeft();
    input.pos += used;
    this.#unitBytes += made;
    if (typeof status === "object") {
      const code = status.kind === "unsupported" ? "ERR_UNSUPPORTED" : "ERR_BAD_VALUE";
      throw new FormatError(code, `${this.#framing.name} data`, input.offset, status.reason);
    }
    this.#hungry = decoder.outputLeft() > 0;
    if (status === "end") {
      this.#framing.unitEnd(this.#unitBytes);
      decoder.reset();
      this.#small = used < SMALL_UNIT_BYTES && this.#unitBytes < SMALL_UNIT_BYTES;
      this.#unitBytes = 0;
      this.#hungry = true;
    } else this.#small = false;
    return filled + made;
  }

  #onPool(): Promise<DecodeStatus> {
    this.#running = this.#decoder.stepAsync().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Waits for the step that is running, then gives everything back. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running?.catch(() => {});
    this.#decoder.free();
    await this.#input.close();
  }
}
