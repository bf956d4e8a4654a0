/**
 * The three ways a tar archive writes numbers. All functions here give NaN for what is not such a number or lies outside
 * ±2^53, so that one range check at the caller (`!(n >= 0 && n <= max)`) catches both.
 */

const NUL = 0;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;
const DOT = 0x2e;
const LIMIT = 2 ** 53;

/**
 * A numeric header field: octal with any spaces or NULs around it (nothing but those is 0), or, with the top bit set,
 * base-256 (two's complement, big-endian, sign in the second bit).
 */
export function headerNumber(bytes: Uint8Array, start: number, end: number): number {
  let p = start;
  let c = bytes[p]!;
  if (c >= 0x80) return base256(bytes, start, end);
  while (c === SPACE || c === NUL) {
    if (++p === end) return 0;
    c = bytes[p]!;
  }
  let value = 0;
  for (;;) {
    const digit = c - ZERO;
    if (digit < 0 || digit > 7) return c === SPACE || c === NUL ? value : Number.NaN;
    value = value * 8 + digit;
    if (++p === end) return value;
    c = bytes[p]!;
  }
}

function base256(bytes: Uint8Array, start: number, end: number): number {
  const first = bytes[start]!;
  // Once outside ±2^53 the value only moves further away, so rounding on the way cannot bring it back inside.
  let value = (first & 0x3f) - (first & 0x40);
  for (let p = start + 1; p < end; p++) value = value * 256 + bytes[p]!;
  return Math.abs(value) < LIMIT ? value : Number.NaN;
}

/** Unsigned decimal digits, at least one, and nothing else: the numbers of PAX records and sparse maps. */
export function decimal(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) return Number.NaN;
  let value = 0;
  for (let p = start; p < end; p++) {
    const c = bytes[p]!;
    if (c < ZERO || c > NINE) return Number.NaN;
    value = value * 10 + (c - ZERO);
    if (value >= LIMIT) return Number.NaN;
  }
  return value;
}

/** A point in time: seconds since 1970 rounded down, and 0 to 999,999,999 ns more. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

/** A PAX time, `[-]digits[.digits]`, rounded down to nanoseconds; null when it is none. */
export function paxTime(bytes: Uint8Array, start: number, end: number): Timestamp | null {
  const negative = bytes[start] === MINUS && start < end;
  const from = negative ? start + 1 : start;
  let dot = from;
  while (dot < end && bytes[dot] !== DOT) dot++;
  const whole = decimal(bytes, from, dot);
  if (Number.isNaN(whole)) return null;
  let nanos = 0;
  let unit = 100_000_000;
  let rest = false;
  for (let p = dot + 1; p < end; p++) {
    const digit = bytes[p]! - ZERO;
    if (digit < 0 || digit > 9) return null;
    if (unit >= 1) nanos += digit * unit;
    else if (digit > 0) rest = true;
    unit /= 10;
  }
  if (!negative) return { seconds: whole, nanos };
  const below = nanos + (rest ? 1 : 0);
  if (below === 0) return { seconds: whole === 0 ? 0 : -whole, nanos: 0 };
  return { seconds: -whole - 1, nanos: 1_000_000_000 - below };
}
