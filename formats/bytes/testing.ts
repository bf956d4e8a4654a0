/** Helpers for tests; not part of the folder's door. */
import type { ByteString } from "./bytestring.ts";

/** A small fast generator (mulberry32): equal seeds give equal runs. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 up to, not including, `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * limit);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }

  /** `length` bytes, each from `first` to `last`. */
  bytes(length: number, first = 1, last = 255): ByteString {
    let bytes = "";
    for (let i = 0; i < length; i++) bytes += String.fromCharCode(first + this.below(last - first + 1));
    return bytes;
  }

  /** 1 to `maxLength` chars out of `alphabet`. */
  word(maxLength: number, alphabet: string): ByteString {
    return Array.from({ length: 1 + this.below(maxLength) }, () => alphabet[this.below(alphabet.length)]).join("");
  }
}
