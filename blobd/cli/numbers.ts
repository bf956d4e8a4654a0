import { UsageError } from "./exit.ts";

const UNITS: Readonly<Record<string, number>> = { "": 0, K: 10, M: 20, G: 30, T: 40 };

/**
 * A size in bytes: `4096`, `64K`, `1G`, `1GiB`; powers of 1024.
 * @throws UsageError
 */
export function parseBytes(option: string, text: string): number {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?$/i.exec(text) ?? [];
  const bytes = Number(digits) * 2 ** UNITS[unit.toUpperCase()]!;
  if (digits === undefined || !Number.isSafeInteger(bytes))
    throw new UsageError(`${option} ${text}: expected a size such as 4096, 64K or 1G`);
  return bytes;
}

/**
 * A whole number.
 * @throws UsageError when it is none, or outside `from` to `to`.
 */
export function parseCount(option: string, text: string, from: number, to: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= from && value <= to))
    throw new UsageError(`${option} ${text}: expected a number from ${from} to ${to}`);
  return value;
}

/** Longest time of a timer: setTimeout takes more for 1 ms. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Seconds, as a whole number of milliseconds: `1`, `0.5`.
 * @throws UsageError when it is none, or more than `maxMs`
 */
export function parseSeconds(option: string, text: string, maxMs: number = Number.MAX_SAFE_INTEGER): number {
  const ms = /^\d+(\.\d+)?$/.test(text) ? Math.round(Number(text) * 1000) : Number.NaN;
  if (!Number.isSafeInteger(ms)) throw new UsageError(`${option} ${text}: expected seconds such as 1 or 0.5`);
  if (ms > maxMs) throw new UsageError(`${option} ${text}: expected at most ${Math.floor(maxMs / 1000)} seconds`);
  return ms;
}

/** @throws UsageError for an address that is not `host:port` */
export function checkHostPort(option: string, text: string): void {
  if (!/^\S+:\d{1,5}$/.test(text)) throw new UsageError(`${option} ${text}: expected host:port`);
}
