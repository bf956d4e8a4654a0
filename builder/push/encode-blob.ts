import { closeSync, fstatSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { allocAligned, type NativeBuffer, sha256, sha256Of, ZstdChunkEncoder } from "../../blobd/sys/index.ts";
import { ChunkIndexWriter, maxStoredBytes, paddingFrame, skippableFrame } from "../../formats/chunk-index/index.ts";
import type { Digest } from "../../formats/oci/index.ts";

/** How a blob is written for a registry. */
export interface EncodeOptions {
  /** Content of a chunk, in bytes; a multiple of 4096. */
  readonly chunkBytes: number;
  /** Of zstd. */
  readonly level: number;
  /** Chunks compressed at once. */
  readonly workers: number;
}

/** An encoded blob, when all of it is written. */
export interface EncodedBlob {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  readonly indexStart: number;
  readonly indexDigest: Digest;
}

const readOnPool = promisify(read);

/**
 * A file as zstd frames, one a chunk, with their chunk index behind them. Reading, compressing and hashing run on libuv's
 * thread pool, several chunks at once; bytes come in order and are the same whatever the number of workers.
 *
 *     slot 0   read, compress, hash ──│ write │ read, compress, hash …
 *     slot 1   read, compress, hash ────────────│ write │ …
 *
 * @param write takes a piece of the result; it must be done with its memory when the promise resolves
 * @param onProgress told how much content has been read, in bytes
 * @throws the system's error, the signal's reason, whatever `write` throws
 */
export async function encodeBlob(
  path: string,
  options: EncodeOptions,
  write: (piece: Uint8Array) => Promise<void>,
  signal: AbortSignal,
  onProgress: (bytes: number) => void = () => {},
): Promise<EncodedBlob> {
  const fd = openSync(path, "r");
  const contentBytes = fstatSync(fd).size;
  const chunks = Math.ceil(contentBytes / options.chunkBytes);
  const slots = Array.from({ length: Math.min(options.workers, chunks) }, () => new Slot(fd, options));
  const whole = sha256();
  const index = new ChunkIndexWriter("zstd", "sha256");
  let position = 0;
  const emit = async (piece: Uint8Array) => {
    await Promise.all([whole.updateAsync(piece), write(piece)]);
    position += piece.length;
  };
  try {
    for (const [chunk, slot] of slots.entries()) slot.start(chunk, contentBytes);
    for (let chunk = 0; chunk < chunks; chunk++) {
      signal.throwIfAborted();
      const slot = slots[chunk % slots.length]!;
      const encoded = await slot.done();
      const { frame, digest } = chunk === chunks - 1 ? await padded(encoded, position) : encoded;
      index.add(position, chunk * options.chunkBytes, digest);
      await emit(frame);
      onProgress(Math.min(contentBytes, (chunk + 1) * options.chunkBytes));
      if (chunk + slots.length < chunks) slot.start(chunk + slots.length, contentBytes);
    }
    const payload = index.finish(contentBytes);
    const indexStart = position;
    await emit(skippableFrame(payload));
    const indexDigest: Digest = `sha256:${(await sha256Of(payload)).toString("hex")}`;
    return { digest: `sha256:${whole.digestHex()}`, size: position, indexStart, indexDigest };
  } finally {
    await Promise.all(slots.map((slot) => slot.close()));
    whole.free();
    closeSync(fd);
  }
}

/** The last frame with what makes the chunk index behind it start on a multiple of 4. */
async function padded(last: Frame, position: number): Promise<Frame> {
  const padding = paddingFrame(position + last.frame.length);
  if (padding.length === 0) return last;
  const frame = Buffer.concat([last.frame, padding]);
  return { frame, digest: await sha256Of(frame) };
}

interface Frame {
  /** A view of the slot's memory, most often. */
  readonly frame: Uint8Array;
  readonly digest: Uint8Array;
}

/** One chunk in work, and the memory it takes. */
class Slot {
  readonly #fd: number;
  readonly #options: EncodeOptions;
  readonly #encoder: ZstdChunkEncoder;
  readonly #source: NativeBuffer;
  readonly #target: NativeBuffer;
  #running: Promise<Frame> = Promise.reject(new Error("nothing was started"));

  constructor(fd: number, options: EncodeOptions) {
    this.#fd = fd;
    this.#options = options;
    this.#encoder = new ZstdChunkEncoder(options.level);
    this.#source = allocAligned(options.chunkBytes);
    this.#target = allocAligned(maxStoredBytes(options.chunkBytes));
    this.#running.catch(() => {});
  }

  start(chunk: number, contentBytes: number): void {
    this.#running = this.#encode(chunk, contentBytes);
    this.#running.catch(() => {}); // It is reported when it is awaited.
  }

  done(): Promise<Frame> {
    return this.#running;
  }

  /** Waits for what runs, then gives its memory back. */
  async close(): Promise<void> {
    await this.#running.catch(() => {});
    this.#encoder.free();
  }

  async #encode(chunk: number, contentBytes: number): Promise<Frame> {
    const position = chunk * this.#options.chunkBytes;
    const bytes = Math.min(this.#options.chunkBytes, contentBytes - position);
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await readOnPool(this.#fd, this.#source.bytes, done, bytes - done, position + done);
      if (bytesRead === 0) throw new Error(`the blob ends at ${position + done}, expected ${contentBytes} bytes`);
      done += bytesRead;
    }
    const { address, bytes: target } = this.#target;
    const length = await this.#encoder.encode(this.#source.address, bytes, address, target.length);
    const frame = target.subarray(0, length);
    return { frame, digest: await sha256Of(frame) };
  }
}
