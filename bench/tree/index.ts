/** A guest reads a tree of many small files in our own ways: EROFS over virtio-pmem, imagefs and passthrough over virtio-fs. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { guestEnvironment, run } from "../../builder/testkit/index.ts";
import { CPUS, type GuestRun, MEMORY_BYTES, makeInputs, readInGuest } from "../guest/index.ts";
import { describeMachine, type QuietOptions, saveReport, type VersionCommand, withWorkFolder } from "../kit/index.ts";
import { type CaseId, treeCases } from "./cases.ts";
import { drawReport, markdownReport, textReport } from "./report.ts";
import { type CaseResult, checkSame, READER, type Results } from "./results.ts";

export { CASE_IDS } from "./cases.ts";

export interface TreeBenchOptions {
  /** Guests of each case. */
  readonly rounds: number;
  readonly cases: readonly CaseId[];
  /** Whether the results replace those in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

// This file is dist/bench/tree/index.js when it runs.
const LAB = fileURLToPath(new URL("../../../samples/lab/", import.meta.url));

/** Runs the benchmark and prints its results. Needs root. */
export async function benchTree(options: TreeBenchOptions): Promise<void> {
  await withWorkFolder(options.workDirectory, "tree", async (work) => {
    say("making inputs");
    const env = { ...process.env, ...(await guestEnvironment()) };
    const cases = await readAll(work, env, options);
    checkSame(cases);
    const results: Results = {
      benchmark: "tree",
      date: new Date().toISOString(),
      machine: await describeMachine(VERSIONS),
      rounds: options.rounds,
      guestMemoryBytes: MEMORY_BYTES,
      guestCpus: CPUS,
      cases,
    };
    process.stdout.write(textReport(results));
    if (options.save) {
      saveReport("tree", { results, svg: drawReport(results), markdown: markdownReport(results) });
      say("saved to bench/results and docs/benchmarks.md");
    }
  });
}

/** Boots guests of all cases in turn, round after round. */
async function readAll(
  work: string,
  env: NodeJS.ProcessEnv,
  { rounds, cases: ids, quiet }: TreeBenchOptions,
): Promise<CaseResult[]> {
  const inputs = await makeInputs(work, (await run(join(LAB, "linux-source.sh"), [])).stdout.trim());
  const wanted = (await treeCases(inputs, work)).filter(({ id }) => ids.includes(id as CaseId));
  const runs = new Map(wanted.map(({ id }) => [id, [] as GuestRun[]]));
  for (let round = 1; round <= rounds; round++)
    for (const one of wanted) {
      const found = await readInGuest(one, inputs, round, {
        readers: [READER],
        quiet,
        env,
        onReading: ({ name }, { seconds, files, disturbed }) =>
          say(`round ${round}: ${name}: ${files} files, ${seconds.toFixed(2)} s${disturbed ? ", disturbed" : ""}`),
      });
      runs.get(one.id)!.push(found);
    }
  return wanted.map(({ id, name, kind, part }) => ({ id, name, kind, ...(part && { part }), runs: runs.get(id)! }));
}

const VERSIONS: readonly VersionCommand[] = [
  ["QEMU", join(LAB, "qemu.sh"), "--version"],
  ["guest kernel", join(LAB, "kernel.sh")],
];

function say(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}
