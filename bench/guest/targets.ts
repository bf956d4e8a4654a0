import { spread } from "../kit/index.ts";
import type { Reader } from "./readings.ts";
import { cacheGrowth, caseOf, type Results, seconds } from "./results.ts";

/** Something that was wanted, and what was found. */
export interface Target {
  readonly wanted: string;
  readonly value: number;
  readonly bound: "at least" | "at most";
  readonly limit: number;
  readonly unit: "×" | "ms" | "MiB";
}

/** Times faster than virtiofsd. */
const LEAN_FACTOR = 5;
const TAR_FACTOR = 3;
const NEAR_LIMIT = 1.1;
/** Growth of the guest's page cache besides metadata. */
const FLAT_MIB = 8;
const OWN_PART_MS = 200;
const MIB = 1 << 20;

/** What the project wants of guests, held against medians. */
export function targetsOf(results: Pick<Results, "cases" | "starts" | "metadataCacheBytes">): Target[] {
  const targets: Target[] = [];
  const [pmem, virtiofs, tmpfs] = [caseOf(results, "pmem"), caseOf(results, "virtiofs"), caseOf(results, "tmpfs")];
  if (pmem && virtiofs)
    for (const [reader, limit] of [
      ["lean", LEAN_FACTOR],
      ["tar", TAR_FACTOR],
    ] as const) {
      const value = seconds(virtiofs, reader) / seconds(pmem, reader);
      targets.push({
        wanted: `${READER_NAMES[reader]}: times faster than virtiofsd`,
        value,
        bound: "at least",
        limit,
        unit: "×",
      });
    }
  if (pmem && tmpfs)
    for (const reader of ["tar", "lean", "again"] as const) {
      const value = seconds(pmem, reader) / seconds(tmpfs, reader);
      const wanted = `${READER_NAMES[reader]}: time against the guest's tmpfs`;
      targets.push({ wanted, value, bound: "at most", limit: NEAR_LIMIT, unit: "×" });
    }
  if (pmem) {
    const value = (Math.max(cacheGrowth(pmem, "lean"), cacheGrowth(pmem, "tar")) - results.metadataCacheBytes) / MIB;
    const wanted = "growth of the guest's page cache, the image's metadata left out";
    targets.push({ wanted, value: Math.max(0, value), bound: "at most", limit: FLAT_MIB, unit: "MiB" });
  }
  if (results.starts.length > 0)
    for (const [part, name] of [
      ["erofsifyMs", "erofsify until QEMU starts"],
      ["mountsMs", "mounts in the guest"],
    ] as const) {
      const value = spread(results.starts.map((start) => start[part])).median;
      targets.push({ wanted: `start: ${name}`, value, bound: "at most", limit: OWN_PART_MS, unit: "ms" });
    }
  return targets;
}

export const READER_NAMES: Readonly<Record<Reader, string>> = {
  lean: "lean reader, empty caches",
  again: "lean reader, once more",
  tar: "tar, empty caches",
};

export function isMet({ value, limit, bound }: Target): boolean {
  return bound === "at most" ? value <= limit : value >= limit;
}
