import { caseOf, type Results, timesFaster } from "./results.ts";
import { ROWS } from "./rows.ts";

/** Something that was wanted, and what was found. */
export interface Target {
  readonly wanted: string;
  readonly value: number;
  readonly bound: "at least" | "at most";
  readonly limit: number;
  readonly unit: "×" | "MiB";
}

/** Runs of the same server differ by this much: "no slower" is meant within it. */
const NOISE = 0.95;
/** Growth of the guest's page cache when 512 MiB are read by DAX, and of the server's private memory by a million inodes. */
const FLAT_MIB = 8;
const MIB = 1 << 20;

/** What the project wants of volumes, held against medians. */
export function targetsOf(results: Pick<Results, "cases" | "inodes">): Target[] {
  const targets: Target[] = [];
  for (const ours of results.cases) {
    const theirs = ours.against === undefined ? undefined : caseOf(results, ours.against);
    if (theirs === undefined || ours.isShownOnly === true) continue;
    for (const { id, name, daxFactor } of ROWS) {
      const value = timesFaster(ours, theirs, id);
      const factor = ours.isDax === true ? daxFactor : undefined;
      if (value === undefined) continue;
      const wanted = `${ours.name}: ${name}: times faster than ${theirs.name}`;
      targets.push({ wanted, value, bound: "at least", limit: factor ?? NOISE, unit: "×" });
    }
  }
  const growth = results.cases
    .flatMap((one) => (one.isDax === true ? one.runs : []))
    .flatMap((run) => run.readings.filter(({ row }) => row === "read" || row === "mapread"))
    .map(({ cacheGrowthBytes }) => cacheGrowthBytes / MIB);
  if (growth.length > 0)
    targets.push({
      wanted: "growth of the guest's page cache when 512 MiB are read by DAX",
      value: Math.max(0, ...growth),
      bound: "at most",
      limit: FLAT_MIB,
      unit: "MiB",
    });
  if (results.inodes !== undefined)
    targets.push({
      wanted: "growth of the server's own memory by a million inodes, its tables left out",
      value: (results.inodes.anonymousAfter - results.inodes.anonymousBefore) / MIB,
      bound: "at most",
      limit: FLAT_MIB,
      unit: "MiB",
    });
  return targets;
}

export function isMet({ value, limit, bound }: Target): boolean {
  return bound === "at most" ? value <= limit : value >= limit;
}
