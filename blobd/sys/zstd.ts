import { struct } from "../../formats/bytes/index.ts";
import { type Decoder, type DecodeStatus, onPool } from "./decoder.ts";
import { type Native, optionalLibrary } from "./koffi.ts";
import { allocAligned } from "./memory.ts";

const SIGNATURES = {
  ZSTD_createDCtx: ["address"],
  ZSTD_freeDCtx: ["long", "address"],
  ZSTD_DCtx_setParameter: ["long", "address", "int", "int"],
  // Results are size_t; errors, the highest values, are negative when taken as a signed number.
  ZSTD_decompressStream: ["long", "address", "address", "address"],
  ZSTD_getErrorName: ["text", "long"],
} as const;

/** ZSTD_dParameter ZSTD_d_windowLogMax. zstd.h. */
const ZSTD_D_WINDOW_LOG_MAX = 100;
/** ZSTD_ErrorCode. zstd_errors.h. */
const WINDOW_TOO_LARGE = 16;

/** `ZSTD_inBuffer` and `ZSTD_outBuffer`. zstd.h. */
const ZstdBuffer = struct("ZSTD_inBuffer", 24, { address: "u53", size: "u53", pos: "u53" });

class LibzstdDecoder implements Decoder {
  readonly #library: Native<typeof SIGNATURES>;
  readonly #windowLogMax: number;
  #context: number;
  /** The two structures of a call, input at 0 and output behind it. */
  readonly #memory = allocAligned(2 * ZstdBuffer.size);
  readonly #input = ZstdBuffer.view(this.#memory.bytes);
  readonly #output = ZstdBuffer.view(this.#memory.bytes, ZstdBuffer.size);

  constructor(library: Native<typeof SIGNATURES>, windowLogMax: number) {
    this.#library = library;
    this.#windowLogMax = windowLogMax;
    this.#context = library.ZSTD_createDCtx();
    if (this.#context === 0) throw new Error("libzstd: out of memory");
    const set = library.ZSTD_DCtx_setParameter(this.#context, ZSTD_D_WINDOW_LOG_MAX, windowLogMax);
    if (set < 0) throw new RangeError(`libzstd refuses a window of 2^${windowLogMax} bytes`);
  }

  setInput(address: number, bytes: number): void {
    this.#input.address = address;
    this.#input.size = bytes;
    this.#input.pos = 0;
  }

  setOutput(address: number, bytes: number): void {
    this.#output.address = address;
    this.#output.size = bytes;
    this.#output.pos = 0;
  }

  inputLeft(): number {
    return this.#input.size - this.#input.pos;
  }

  outputLeft(): number {
    return this.#output.size - this.#output.pos;
  }

  step(): DecodeStatus {
    const { address } = this.#memory;
    return this.#status(this.#library.ZSTD_decompressStream(this.#context, address + ZstdBuffer.size, address));
  }

  async stepAsync(): Promise<DecodeStatus> {
    const { address } = this.#memory;
    const call = this.#library.ZSTD_decompressStream;
    return this.#status(await onPool(call, this.#context, address + ZstdBuffer.size, address));
  }

  #status(result: number): DecodeStatus {
    if (result === 0) return "end";
    if (result > 0) return "more";
    if (result === -WINDOW_TOO_LARGE)
      return { kind: "unsupported", reason: `the frame needs a window larger than 2^${this.#windowLogMax} bytes` };
    return { kind: "corrupt", reason: this.#library.ZSTD_getErrorName(result) };
  }

  reset(): void {
    // The library starts the next frame by itself.
  }

  free(): void {
    this.#library.ZSTD_freeDCtx(this.#context);
    this.#context = 0;
  }
}

const library = optionalLibrary("libzstd.so.1", SIGNATURES);

/** Whether libzstd is installed. */
export function hasLibzstd(): boolean {
  return library() !== null;
}

/**
 * A decoder of zstd frames; skippable ones are skipped and end like others. `free` must be called: a worker thread that
 * is terminated before it leaks the window.
 *
 * @param windowLogMax the largest window a frame may ask for, as a power of two: what one stream may cost in memory.
 * @throws Error when libzstd is not installed; ask `hasLibzstd` before.
 */
export function zstdDecoder(windowLogMax: number): Decoder {
  const found = library();
  if (found === null) throw new Error("libzstd.so.1 is not installed");
  return new LibzstdDecoder(found, windowLogMax);
}
