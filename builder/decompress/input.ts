import { allocAligned, type NativeBuffer } from "../../blobd/sys/index.ts";

/** A source of chunks that can be let go while it is being waited for. */
export class Source {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #waiting = false;
  #ended = false;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next chunk, valid until the next call; null at the end, or once the source was let go. */
  async next(): Promise<Uint8Array | null> {
    if (this.#ended) return null;
    this.#waiting = true;
    try {
      const { done, value } = await this.#chunks.next();
      if (!done) return value;
      this.#ended = true;
      return null;
    } catch (error) {
      this.#ended = true;
      throw error;
    } finally {
      this.#waiting = false;
    }
  }

  /** Lets the source go. If a chunk is just being waited for, that wait goes on without us. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const returned = this.#chunks.return?.();
    if (this.#waiting) returned?.catch(() => {});
    else await returned;
  }
}

/** A decoder that waits is given a piece once it has this many bytes; one that does not wait gets full pieces. */
const HASTY_BYTES = 128 << 10;

/** Bytes before each piece of input that repeat the end of the piece before it (see `Decoder.inputLeft`). */
const HEADROOM = 8;

/**
 * Gathers a stream's chunks into pieces of native memory. There are two: while a decoder works on one, the next chunks
 * are copied into the other. A chunk is wholly copied before the next is asked for, so the source may reuse its buffer.
 */
export class InputPieces {
  readonly #source: Source;
  readonly #buffers: readonly [NativeBuffer, NativeBuffer];
  readonly #size: number;
  #turn: 0 | 1 = 0;
  /** What is left of the current chunk. */
  #rest: Uint8Array = new Uint8Array(0);
  #closed = false;
  /** Whether the decoder is waiting for the next piece. */
  #wanted = false;
  #next: Promise<number>;

  /** The current piece: `bytes` from `pos` to `end` are still to be used. */
  bytes: Buffer;
  address: number;
  pos = HEADROOM;
  end = HEADROOM;
  /** Bytes of the stream in the pieces before the current one. */
  #before = 0;

  constructor(source: AsyncIterable<Uint8Array>, pieceBytes: number) {
    this.#source = new Source(source);
    this.#size = HEADROOM + pieceBytes;
    this.#buffers = [allocAligned(this.#size), allocAligned(this.#size)];
    ({ bytes: this.bytes, address: this.address } = this.#buffers[1]);
    this.#next = this.#fill(this.#buffers[0]);
  }

  /** Where in the stream `pos` lies, in bytes. */
  get offset(): number {
    return this.#before + this.pos - HEADROOM;
  }

  /**
   * Goes to the next piece, once the current one is used up.
   * @returns false at the end of the stream.
   * @throws what the source throws.
   */
  async advance(): Promise<boolean> {
    this.#wanted = true;
    const end = await this.#next;
    this.#wanted = false;
    if (this.#closed || end === HEADROOM) return false;
    const last = this.bytes;
    const lastEnd = this.end;
    this.#before += lastEnd - HEADROOM;
    ({ bytes: this.bytes, address: this.address } = this.#buffers[this.#turn]);
    last.copy(this.bytes, 0, lastEnd - HEADROOM, lastEnd);
    this.pos = HEADROOM;
    this.end = end;
    this.#turn = this.#turn === 0 ? 1 : 0;
    this.#next = this.#fill(this.#buffers[this.#turn]);
    return true;
  }

  /** Lets the source go. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#source.close();
  }

  /** Copies chunks behind the headroom of `buffer`; returns the end of what was copied. */
  #fill(buffer: NativeBuffer): Promise<number> {
    const filled = this.#copyChunks(buffer);
    filled.catch(() => {}); // It is reported by the `advance` that waits for it, if one ever does.
    return filled;
  }

  async #copyChunks({ bytes }: NativeBuffer): Promise<number> {
    let end = HEADROOM;
    while (end < this.#size) {
      if (this.#rest.length === 0) {
        if (this.#wanted && end - HEADROOM >= HASTY_BYTES) break;
        const chunk = await this.#source.next();
        if (chunk === null || this.#closed) break;
        this.#rest = chunk;
        continue;
      }
      const take = Math.min(this.#rest.length, this.#size - end);
      bytes.set(this.#rest.subarray(0, take), end);
      this.#rest = this.#rest.subarray(take);
      end += take;
    }
    return end;
  }
}
