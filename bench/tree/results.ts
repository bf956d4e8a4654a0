import type { Case, GuestRun, Reader } from "../guest/index.ts";
import type { Machine } from "../kit/index.ts";

/** What a run of the benchmark found. bench/results/tree.json holds one. */
export interface Results {
  readonly benchmark: "tree";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly guestMemoryBytes: number;
  readonly guestCpus: number;
  readonly cases: readonly CaseResult[];
}

export interface CaseResult extends Pick<Case, "id" | "name" | "kind" | "part"> {
  readonly runs: readonly GuestRun[];
}

/** How the tree is read: by the lean reader, from empty caches of the guest. */
export const READER = "lean" satisfies Reader;

export function filesOf({ runs }: CaseResult): number {
  return runs[0]?.readings[0]?.files ?? 0;
}

/**
 * Checks that all cases of the whole tree, and all of its part, have read the same.
 * @throws Error telling the difference
 */
export function checkSame(cases: readonly CaseResult[]): void {
  for (const part of new Set(cases.map((one) => one.part))) {
    const found = cases
      .filter((one) => one.part === part)
      .flatMap(({ name, runs }) =>
        runs.flatMap(({ readings }) =>
          readings.map(({ files, bytes }) => ({ name, text: `${files} files, ${bytes} bytes` })),
        ),
      );
    const other = found.find(({ text }) => text !== found[0]!.text);
    if (other !== undefined) throw new Error(`${other.name} read ${other.text}; ${found[0]!.name} ${found[0]!.text}`);
  }
}
