import type { ChunkIndex } from "../../formats/chunk-index/index.ts";
import { allocAligned, type NativeBuffer, ZstdChunkDecoder } from "../sys/index.ts";

/** What it takes to receive one chunk: memory for its stored bytes and its content, and a decoder. */
export class ChunkBuffers {
  /** The same as `content` when chunks are stored as they are. */
  readonly stored: NativeBuffer;
  /** Starts on a page. */
  readonly content: NativeBuffer;
  readonly #decoder: ZstdChunkDecoder | undefined;

  constructor(storedBytes: number, contentBytes: number, isCompressed: boolean) {
    this.content = allocAligned(contentBytes);
    this.stored = isCompressed ? allocAligned(storedBytes) : this.content;
    this.#decoder = isCompressed ? new ZstdChunkDecoder() : undefined;
  }

  /** Unpacks the first bytes of `stored` into `content`. @returns the content's length, or why there is none */
  async decode(storedBytes: number, contentBytes: number): Promise<number | string> {
    if (this.#decoder === undefined) return contentBytes;
    return this.#decoder.decode(this.stored.address, storedBytes, this.content.address, contentBytes);
  }

  free(): void {
    this.#decoder?.free();
  }
}

/** Buffers for the chunks of one blob, kept for the next ones: never more than there are chunks in hand at a time. */
export class ChunkBufferPool {
  readonly #storedBytes: number;
  readonly #contentBytes: number;
  readonly #isCompressed: boolean;
  readonly #free: ChunkBuffers[] = [];
  #isClosed = false;

  constructor(index: ChunkIndex) {
    let [stored, content] = [0, 0];
    for (let chunk = 0; chunk < index.count; chunk++) {
      stored = Math.max(stored, index.storedBytes(chunk));
      content = Math.max(content, index.bytes(chunk));
    }
    this.#storedBytes = stored;
    this.#contentBytes = content;
    this.#isCompressed = index.compression === "zstd";
  }

  take(): ChunkBuffers {
    return this.#free.pop() ?? new ChunkBuffers(this.#storedBytes, this.#contentBytes, this.#isCompressed);
  }

  give(buffers: ChunkBuffers): void {
    if (this.#isClosed || this.#free.length >= KEPT) buffers.free();
    else this.#free.push(buffers);
  }

  close(): void {
    this.#isClosed = true;
    for (const buffers of this.#free) buffers.free();
    this.#free.length = 0;
  }
}

/** Kept for the next chunks: as many as an idle blob may hold on to. */
const KEPT = 4;
