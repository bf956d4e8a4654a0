import type { Pages } from "../reader/index.ts";
import type { Place, Problems } from "./problems.ts";

/** Reports the first byte of a reserved range that is not zero. */
export function requireZero(
  pages: Pages,
  problems: Problems,
  place: Place | null,
  field: string,
  offset: number,
  bytes: number,
): void {
  if (bytes <= 0) return;
  const page = pages.at(offset, bytes);
  const start = offset - page.start;
  for (let at = start; at < start + bytes; at++) {
    const byte = page.bytes[at]!;
    if (byte === 0) continue;
    problems.add(place, field, page.start + at, `found 0x${byte.toString(16)}, expected zero`);
    return;
  }
}
