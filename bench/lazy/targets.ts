import { spread } from "../kit/index.ts";
import { READS, type Read } from "./host.ts";
import { over, type Results, transferMs } from "./results.ts";

/** Something that was wanted, and what was found. */
export interface Target {
  readonly wanted: string;
  readonly value: number;
  readonly limit: number;
  readonly unit: "×" | "ms";
}

/** Of the time that the same takes when all is there, what has to be fetched comes on top. */
const LAZY_FACTOR = 1.5;
const WARM_FACTOR = 1.05;
const STALL_MS = 1000;

/** What the project wants of images on demand, held against medians. All at most. */
export function targetsOf(results: Pick<Results, "workloads" | "link" | "host">): Target[] {
  const targets: Target[] = [];
  for (const workload of results.workloads)
    for (const [mode, name] of [
      ["lazy", "lazy"],
      ["listed", "lazy with its list"],
    ] as const) {
      if (workload.starts[mode].length === 0 || workload.starts.warm.length === 0) continue;
      const bytes = over(workload, mode, ({ fetchedBytes }) => fetchedBytes).median;
      const done = over(workload, mode, ({ doneMs }) => doneMs).median;
      const warm = over(workload, "warm", ({ doneMs }) => doneMs).median;
      targets.push({
        wanted: `${workload.name}, ${name}: its time without the transfer's, against warm`,
        value: Math.max(0, done - transferMs(results, bytes)) / warm,
        limit: LAZY_FACTOR,
        unit: "×",
      });
    }
  const { host } = results;
  if (host === undefined) return targets;
  for (const [which, name] of GIVEN)
    for (const read of READS) {
      const ratios = host.warm.filter((one) => one.read === read).map((one) => one[which] / one.plainSeconds);
      const wanted = `${READ_NAMES[read]}, cached: ${name}, against a plain one`;
      targets.push({ wanted, value: spread(ratios).median, limit: WARM_FACTOR, unit: "×" });
    }
  targets.push({
    wanted: `${host.readers.count} readers at once of a blob that is not there: the longest read`,
    value: Math.max(...host.readers.tookMs),
    limit: STALL_MS,
    unit: "ms",
  });
  return targets;
}

const GIVEN = [
  ["givenSeconds", "the file that a guest is given when all is there"],
  ["earlierSeconds", "the mount's file, which a guest has that was there before"],
] as const;

export const READ_NAMES: Readonly<Record<Read, string>> = {
  read: "read(2) of 1 MiB",
  read4k: "read(2) of 4 KiB in sequence",
  randread: "read(2) of 4 KiB anywhere",
  mapread: "a mapping read in sequence",
  maprand: "8 bytes anywhere in a mapping",
};

export function isMet({ value, limit }: Target): boolean {
  return value <= limit;
}
