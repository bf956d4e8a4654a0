/** Numbers for people. */
import { UsageError } from "../exit.ts";

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes with three digits and a decimal unit, as docker prints them: `1.36 GB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

const SIZE = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?$/i;

/**
 * A size from the command line: `500M`, `2GiB`, `1048576`. Units with `i` are powers of 1024, others of 1000.
 * @param option for the error
 * @throws UsageError telling what is accepted.
 */
export function parseBytes(text: string, option: string): number {
  const match = SIZE.exec(text.trim());
  if (match === null) throw new UsageError(`${option} ${text}: expected a size such as 500M, 2GiB or 1048576`);
  const [, value, unit = "", binary] = match;
  const exponent = ["", "k", "m", "g", "t"].indexOf(unit.toLowerCase());
  return Math.floor(Number(value) * (binary ? 1024 : 1000) ** exponent);
}

/** Seconds with two decimals below ten, one above. */
export function formatSeconds(seconds: number): string {
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/** A digest as docker shows it: the first 12 hex digits. */
export function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, "").slice(0, 12);
}
