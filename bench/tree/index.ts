/** A guest reads a tree of many small files in our own ways: EROFS over virtio-pmem, imagefs and passthrough over virtio-fs. */
import { join } from "node:path";
import { guestEnvironment, run } from "../../builder/testkit/index.ts";
import { CPUS, MEMORY_BYTES, makeInputs, readInGuests } from "../guest/index.ts";
import {
  describeMachine,
  LAB,
  LAB_VERSIONS,
  publish,
  type QuietOptions,
  say,
  type VersionCommand,
  withWorkFolder,
} from "../kit/index.ts";
import { type CaseId, treeCases } from "./cases.ts";
import { reportOf } from "./report.ts";
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
    publish("tree", results, reportOf(results), options.save);
  });
}

async function readAll(
  work: string,
  env: NodeJS.ProcessEnv,
  { rounds, cases: ids, quiet }: TreeBenchOptions,
): Promise<CaseResult[]> {
  const inputs = await makeInputs(work, (await run(join(LAB, "linux-source.sh"), [])).stdout.trim());
  const wanted = (await treeCases(inputs, work)).filter(({ id }) => ids.includes(id as CaseId));
  const read = await readInGuests(wanted, inputs, rounds, {
    readers: [READER],
    quiet,
    env,
    onReading: ({ name }, { seconds, files, disturbed }, round) =>
      say(`round ${round}: ${name}: ${files} files, ${seconds.toFixed(2)} s${disturbed ? ", disturbed" : ""}`),
  });
  return read.map(({ one: { id, name, kind, part }, runs }) => ({ id, name, kind, ...(part && { part }), runs }));
}

const VERSIONS: readonly VersionCommand[] = [LAB_VERSIONS.qemu, LAB_VERSIONS.kernel];
