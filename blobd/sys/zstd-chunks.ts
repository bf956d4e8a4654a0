import { onPool } from "./decoder.ts";
import { type Native, optionalLibrary } from "./koffi.ts";

const SIGNATURES = {
  ZSTD_versionNumber: ["int"],
  ZSTD_maxCLevel: ["int"],
  ZSTD_createCCtx: ["address"],
  ZSTD_freeCCtx: ["long", "address"],
  ZSTD_CCtx_setParameter: ["long", "address", "int", "int"],
  // Results are size_t; errors, the highest values, are negative when taken as a signed number.
  ZSTD_compress2: ["long", "address", "address", "size", "address", "size"],
  ZSTD_createDCtx: ["address"],
  ZSTD_freeDCtx: ["long", "address"],
  ZSTD_decompressDCtx: ["long", "address", "address", "size", "address", "size"],
  ZSTD_getErrorName: ["text", "long"],
} as const;

/** ZSTD_cParameter. zstd.h. */
const ZSTD_C_COMPRESSION_LEVEL = 100;
const ZSTD_C_CHECKSUM_FLAG = 201;

const library = optionalLibrary("libzstd.so.1", SIGNATURES);

function loaded(): Native<typeof SIGNATURES> {
  const found = library();
  if (found === null) throw new Error("libzstd.so.1 is not installed");
  return found;
}

/** The library's version as a number (1.5.4 is 10504): the bytes of a frame depend on it. */
export function libzstdVersion(): number {
  return loaded().ZSTD_versionNumber();
}

/** The highest level that the library knows. */
export function libzstdMaxLevel(): number {
  return loaded().ZSTD_maxCLevel();
}

/** Compresses pieces of memory, each into one frame of its own. One call at a time; `free` gives its memory back. */
export class ZstdChunkEncoder {
  readonly #library = loaded();
  #context: number;

  /**
   * @param level 1 to 22
   * @throws Error when libzstd is not installed; ask `hasLibzstd` before.
   */
  constructor(level: number) {
    const { ZSTD_createCCtx, ZSTD_CCtx_setParameter } = this.#library;
    this.#context = ZSTD_createCCtx();
    if (this.#context === 0) throw new Error("libzstd: out of memory");
    ZSTD_CCtx_setParameter(this.#context, ZSTD_C_COMPRESSION_LEVEL, level);
    // Readers check a digest of the frame before they decode it: a checksum of the content would cost them time twice.
    ZSTD_CCtx_setParameter(this.#context, ZSTD_C_CHECKSUM_FLAG, 0);
  }

  /**
   * Compresses on libuv's thread pool. Whoever calls holds both pieces of memory until it is done.
   * @returns the frame's length in bytes
   */
  async encode(source: number, sourceBytes: number, target: number, targetBytes: number): Promise<number> {
    const { ZSTD_compress2, ZSTD_getErrorName } = this.#library;
    const result = await onPool(ZSTD_compress2, this.#context, target, targetBytes, source, sourceBytes);
    if (result < 0) throw new Error(`libzstd: ${ZSTD_getErrorName(result)}`);
    return result;
  }

  free(): void {
    this.#library.ZSTD_freeCCtx(this.#context);
    this.#context = 0;
  }
}

/** Decompresses frames, each from one piece of memory into another. One call at a time; `free` gives its memory back. */
export class ZstdChunkDecoder {
  readonly #library = loaded();
  #context: number;

  /** @throws Error when libzstd is not installed; ask `hasLibzstd` before. */
  constructor() {
    this.#context = this.#library.ZSTD_createDCtx();
    if (this.#context === 0) throw new Error("libzstd: out of memory");
  }

  /**
   * Decompresses on libuv's thread pool, at most `targetBytes`. Whoever calls holds both pieces of memory until it is done.
   * The window is the target itself, so a frame cannot ask for more memory than that.
   * @returns the content's length in bytes, or in the library's words why there is none
   */
  async decode(source: number, sourceBytes: number, target: number, targetBytes: number): Promise<number | string> {
    const { ZSTD_decompressDCtx, ZSTD_getErrorName } = this.#library;
    const result = await onPool(ZSTD_decompressDCtx, this.#context, target, targetBytes, source, sourceBytes);
    return result < 0 ? ZSTD_getErrorName(result) : result;
  }

  free(): void {
    this.#library.ZSTD_freeDCtx(this.#context);
    this.#context = 0;
  }
}
