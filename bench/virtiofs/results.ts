import { type Machine, type Spread, spread } from "../kit/index.ts";
import type { Case, CaseId } from "./case.ts";
import type { InodeMemory } from "./inodes.ts";
import type { MappingCost } from "./mappings.ts";
import type { GuestRun, Reading } from "./readings.ts";
import type { RequestCost } from "./requests.ts";
import { type RowId, rowOf } from "./rows.ts";

/** What a run of the benchmark found. bench/results/virtiofs.json holds one. */
export interface Results {
  readonly benchmark: "virtiofs";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly guestMemoryBytes: number;
  readonly guestCpus: number;
  readonly cases: readonly CaseResult[];
  readonly requests?: readonly RequestCost[];
  readonly mappings?: readonly MappingCost[];
  readonly inodes?: InodeMemory;
}

export interface CaseResult extends Pick<Case, "id" | "name" | "kind" | "against" | "isDax" | "isShownOnly"> {
  readonly runs: readonly GuestRun[];
}

export function caseOf({ cases }: Pick<Results, "cases">, id: CaseId): CaseResult | undefined {
  return cases.find((one) => one.id === id);
}

/** A figure of a row, over all rounds; undefined when it was not measured. */
export function over(one: CaseResult, row: RowId, value: (reading: Reading) => number): Spread | undefined {
  const values = one.runs.flatMap((run) => run.readings.filter((reading) => reading.row === row).map(value));
  return values.length === 0 ? undefined : spread(values);
}

/** A row in its own unit: microseconds an operation, or MiB in a second. */
export function figure(one: CaseResult, row: RowId): Spread | undefined {
  const { unit } = rowOf(row);
  return over(one, row, ({ seconds, operations, bytes }) =>
    unit === "µs" ? (seconds / operations) * 1e6 : bytes / seconds / (1 << 20),
  );
}

/** Processor time of the server an operation, in microseconds. */
export function serverMicroseconds(one: CaseResult, row: RowId): Spread | undefined {
  return over(
    one,
    row,
    ({ userSeconds, systemSeconds, operations }) => ((userSeconds + systemSeconds) / operations) * 1e6,
  );
}

/** How many times faster `one` is than `other`, by medians of the rows' times. */
export function timesFaster(one: CaseResult, other: CaseResult, row: RowId): number | undefined {
  const [a, b] = [one, other].map((each) => over(each, row, ({ seconds }) => seconds)?.median);
  return a === undefined || b === undefined ? undefined : b / a;
}
