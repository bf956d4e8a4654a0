/** A guest works on a folder of the host: volumes by blobd against virtiofsd. See docs/benchmarks.md. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { guestEnvironment } from "../../builder/testkit/index.ts";
import { describeMachine, type QuietOptions, saveReport, type VersionCommand, withWorkFolder } from "../kit/index.ts";
import { CASES, type CaseId } from "./case.ts";
import { measureInodes } from "./inodes.ts";
import { type Inputs, makeInputs } from "./inputs.ts";
import { measureMappings } from "./mappings.ts";
import { CPUS, type GuestRun, MEMORY_BYTES, readInGuest } from "./readings.ts";
import { drawReport, markdownReport, textReport } from "./report.ts";
import { measureRequests } from "./requests.ts";
import type { CaseResult, Results } from "./results.ts";
import { rowOf } from "./rows.ts";

export { CASE_IDS } from "./case.ts";

export interface VirtiofsBenchOptions {
  /** Guests of each case. */
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

// This file is dist/bench/virtiofs/index.js when it runs.
const LAB = fileURLToPath(new URL("../../../samples/lab/", import.meta.url));

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
    process.stdout.write(textReport(results));
    if (options.save) {
      saveReport("virtiofs", { results, svg: drawReport(results), markdown: markdownReport(results) });
      say("saved to bench/results and docs/benchmarks.md");
    }
  });
}

/** Boots guests of all cases in turn, round after round. */
async function readAll(
  inputs: Inputs,
  work: string,
  env: NodeJS.ProcessEnv,
  { rounds, cases, quiet }: VirtiofsBenchOptions,
): Promise<CaseResult[]> {
  const wanted = CASES.filter(({ id }) => cases.includes(id));
  const runs = new Map(wanted.map(({ id }) => [id, [] as GuestRun[]]));
  for (let round = 1; round <= rounds; round++)
    for (const one of wanted) {
      const found = await readInGuest(one, inputs, work, round, {
        quiet,
        env,
        onReading: ({ name }, { row, seconds, operations, disturbed }) =>
          say(
            `round ${round}: ${name}: ${rowOf(row).name}: ${seconds.toFixed(2)} s, ` +
              `${((seconds / operations) * 1e6).toFixed(1)} µs each${disturbed ? ", disturbed" : ""}`,
          ),
      });
      runs.get(one.id)!.push(found);
    }
  return wanted.map(({ id, name, kind, against }) => ({
    id,
    name,
    kind,
    ...(against && { against }),
    runs: runs.get(id)!,
  }));
}

const VERSIONS: readonly VersionCommand[] = [
  ["QEMU", join(LAB, "qemu.sh"), "--version"],
  ["virtiofsd", join(LAB, "run-in-lab.sh"), "/usr/libexec/virtiofsd", "--version"],
  ["guest kernel", join(LAB, "kernel.sh")],
];

function say(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}
