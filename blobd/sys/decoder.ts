import type { NativeFunction } from "./koffi.ts";

/** What a decoder says after a step. */
export type DecodeStatus = "more" | "end" | DecodeFailure;

/** Input a decoder cannot go on with, and why, in the library's words. */
export interface DecodeFailure {
  readonly kind: "corrupt" | "unsupported";
  readonly reason: string;
}

/**
 * A native decompressor of one stream. It reads from and writes to addresses; whoever uses it holds the memory behind
 * them. No method may be called while an asynchronous step runs.
 */
export interface Decoder {
  /** Gives it the next input, in place of what is left of the last one (which it has wholly taken, or is given again). */
  setInput(address: number, bytes: number): void;
  /** Gives it the next place for output. */
  setOutput(address: number, bytes: number): void;
  /**
   * Bytes of input not used. After an `end` this can be more than was given, by less than 8: the decoder hands back what
   * it had taken too early, so the bytes before the input must still be those that were given before it.
   */
  inputLeft(): number;
  /** Bytes of output space not used. More input is of no use while this is 0. */
  outputLeft(): number;
  /** Decodes until the input is used up, the output is full, or the unit (a deflate stream, a zstd frame) ends. */
  step(): DecodeStatus;
  /** `step` on libuv's thread pool. */
  stepAsync(): Promise<DecodeStatus>;
  /** Makes it ready for the next unit. */
  reset(): void;
  /** Gives its memory back; it must not be used any more. */
  free(): void;
}

/** Calls a native function on libuv's thread pool. */
export function onPool<R, A extends readonly unknown[]>(native: NativeFunction<R, A>, ...args: A): Promise<R> {
  return new Promise((done, failed) => {
    native.async(...args, (error, result) => (error === null ? done(result) : failed(error)));
  });
}
