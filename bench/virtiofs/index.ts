/** A guest works on a folder of the host: volumes by blobd against virtiofsd. See docs/benchmarks.md. */
import { guestEnvironment } from "../../builder/testkit/index.ts";
import {
  describeMachine,
  LAB_VERSIONS,
  publish,
  type QuietOptions,
  say,
  type VersionCommand,
  withWorkFolder,
} from "../kit/index.ts";
import { CASES, type CaseId } from "./case.ts";
import { measureInodes } from "./inodes.ts";
import { type Inputs, makeInputs } from "./inputs.ts";
import { measureMappings } from "./mappings.ts";
import {
  anonymousOf,
  CPUS,
  type GuestRun,
  MEMORY_BYTES,
  type Reading,
  readRow,
  rowsOf,
  withGuests,
} from "./readings.ts";
import { reportOf } from "./report.ts";
import { measureRequests } from "./requests.ts";
import type { CaseResult, Results } from "./results.ts";
import { ROWS, rowGroups, rowOf } from "./rows.ts";

export { CASE_IDS } from "./case.ts";

export interface VirtiofsBenchOptions {
  /** How often each row is measured in each guest. */
  readonly rounds: number;
  readonly cases: readonly CaseId[];
  /** Whether the cost of single requests, of DAX mappings, and the memory for a million inodes, are measured. */
  readonly requests: boolean;
  readonly mappings: boolean;
  readonly inodes: boolean;
  /** Whether the results replace those in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

/** Runs the benchmark and prints its results. Needs root. */
export async function benchVirtiofs(options: VirtiofsBenchOptions): Promise<void> {
  await withWorkFolder(options.workDirectory, "virtiofs", async (work) => {
    say("making inputs");
    const env = { ...process.env, ...(await guestEnvironment()) };
    const inputs = await makeInputs(work);
    const cases = await readAll(inputs, work, env, options);
    say("requests, mappings, inodes");
    const requests = options.requests ? await measureRequests(work) : undefined;
    const mappings = options.mappings ? await measureMappings(inputs, work, env) : undefined;
    const inodes = options.inodes ? await measureInodes(inputs, work) : undefined;
    const results: Results = {
      benchmark: "virtiofs",
      date: new Date().toISOString(),
      machine: await describeMachine(VERSIONS),
      rounds: options.rounds,
      guestMemoryBytes: MEMORY_BYTES,
      guestCpus: CPUS,
      cases,
      ...(requests && { requests }),
      ...(mappings && { mappings }),
      ...(inodes && { inodes }),
    };
    publish("virtiofs", results, reportOf(results), options.save);
  });
}

/** Boots a guest of each case, and measures each row in one after the other, round after round. */
async function readAll(
  inputs: Inputs,
  work: string,
  env: NodeJS.ProcessEnv,
  { rounds, cases, quiet }: VirtiofsBenchOptions,
): Promise<CaseResult[]> {
  const wanted = CASES.filter(({ id }) => cases.includes(id));
  return withGuests(wanted, inputs, work, env, async (guests) => {
    const runs = guests.map((): GuestRun[] => []);
    for (let round = 1; round <= rounds; round++) {
      const readings = guests.map((): Reading[] => []);
      for (const group of rowGroups(ROWS))
        for (const [index, live] of guests.entries())
          for (const row of group) {
            if (!rowsOf(live.one).includes(row)) continue;
            const reading = await readRow(live, row, quiet);
            readings[index]!.push(reading);
            tell(round, live.one.name, reading);
          }
      for (const [index, { guest, volume, anonymousAtStart }] of guests.entries())
        runs[index]!.push({
          round,
          accelerator: guest.accelerator,
          readings: readings[index]!,
          anonymousAtStart,
          anonymous: volume === undefined ? 0 : anonymousOf(volume.pids()),
        });
    }
    return guests.map(({ one: { id, name, kind, against, isDax, isShownOnly } }, index) => ({
      ...{ id, name, kind, runs: runs[index]! },
      ...(against && { against }),
      ...(isDax && { isDax }),
      ...(isShownOnly && { isShownOnly }),
    }));
  });
}

function tell(round: number, name: string, { row, seconds, operations, disturbed }: Reading): void {
  say(
    `round ${round}: ${name}: ${rowOf(row).name}: ${seconds.toFixed(2)} s, ` +
      `${((seconds / operations) * 1e6).toFixed(1)} µs each${disturbed ? ", disturbed" : ""}`,
  );
}

const VERSIONS: readonly VersionCommand[] = [LAB_VERSIONS.qemu, LAB_VERSIONS.virtiofsd, LAB_VERSIONS.kernel];
