import { type Machine, type Spread, spread } from "../kit/index.ts";
import type { Case } from "./case.ts";
import type { GuestRun, Reader, Reading } from "./readings.ts";
import type { Start } from "./starts.ts";

/** What a run of the benchmark found. bench/results/guest.json holds one. */
export interface Results {
  readonly benchmark: "guest";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly guestMemoryBytes: number;
  readonly guestCpus: number;
  /** What a guest that reads all of the image's metadata caches of it, in bytes. */
  readonly metadataCacheBytes: number;
  readonly cases: readonly CaseResult[];
  readonly starts: readonly Start[];
}

export interface CaseResult extends Pick<Case, "id" | "name" | "kind"> {
  readonly runs: readonly GuestRun[];
}

export function caseOf({ cases }: Pick<Results, "cases">, id: string): CaseResult | undefined {
  return cases.find((one) => one.id === id);
}

/** A figure of a case's readings by one reader, over all rounds. */
export function over(one: CaseResult, reader: Reader, value: (reading: Reading, run: GuestRun) => number): Spread {
  return spread(
    one.runs.flatMap((run) =>
      run.readings.filter((reading) => reading.reader === reader).map((reading) => value(reading, run)),
    ),
  );
}

/** Seconds of a reader, the middle of all rounds. */
export function seconds(one: CaseResult, reader: Reader): number {
  return over(one, reader, (reading) => reading.seconds).median;
}

/** By how much the guest's page cache has grown since before the tree was visible, in bytes; block devices' included. */
export function cacheGrowth(one: CaseResult, reader: Reader): number {
  return over(
    one,
    reader,
    ({ guest }, { guestEmpty }) => guest.cached + guest.buffers - guestEmpty.cached - guestEmpty.buffers,
  ).max;
}

/**
 * Checks that every reader found the same in all cases.
 * @throws Error telling the difference
 */
export function checkSame(
  cases: readonly CaseResult[],
  host: { readonly files: number; readonly bytes: number },
): void {
  const archives = new Set<number>();
  for (const { name, runs } of cases)
    for (const { reader, files, bytes } of runs.flatMap(({ readings }) => readings)) {
      if (reader === "tar") archives.add(bytes);
      else if (files !== host.files || bytes !== host.bytes)
        throw new Error(
          `${name}: read ${files} files, ${bytes} bytes; on the host there are ${host.files}, ${host.bytes}`,
        );
    }
  if (archives.size > 1) throw new Error(`tar wrote archives of different sizes: ${[...archives].join(", ")} bytes`);
}
