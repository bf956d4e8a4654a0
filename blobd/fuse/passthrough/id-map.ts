import type { IdRange } from "./config.ts";

/** What an ID that the guest has no number for is shown as: the kernel's overflow ID. */
const OVERFLOW_ID = 65534;
/** "Leave it as it is", to chown(2); no ID. */
const NO_ID = 0xffff_ffff;

/** @returns the host's ID; -1 when the guest may not use this one. */
export function toHost(ranges: readonly IdRange[], id: number): number {
  if (ranges.length === 0) return id === NO_ID ? -1 : id;
  for (const range of ranges)
    if (id >= range.guest && id - range.guest < range.count) return id - range.guest + range.host;
  return -1;
}

export function toGuest(ranges: readonly IdRange[], id: number): number {
  if (ranges.length === 0) return id;
  for (const range of ranges)
    if (id >= range.host && id - range.host < range.count) return id - range.host + range.guest;
  return OVERFLOW_ID;
}
