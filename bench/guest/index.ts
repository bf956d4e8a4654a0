/**
 * A guest reads a tree of many small files, as EROFS over virtio-pmem and in the ways that are usual; and how long it takes
 * to start one. See docs/benchmarks.md.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { guestEnvironment, run } from "../../builder/testkit/index.ts";
import { describeMachine, type QuietOptions, saveReport, type VersionCommand, withWorkFolder } from "../kit/index.ts";
import type { CaseId } from "./case.ts";
import { makeCases } from "./cases.ts";
import { type Inputs, makeInputs, TREE } from "./inputs.ts";
import { CPUS, type GuestRun, MEMORY_BYTES, readInGuest } from "./readings.ts";
import { drawReport, markdownReport, textReport } from "./report.ts";
import { type CaseResult, checkSame, type Results } from "./results.ts";
import { measureStart, type Start } from "./starts.ts";
import { READER_NAMES } from "./targets.ts";

export { CASE_IDS, type Case } from "./case.ts";
export { makeCases } from "./cases.ts";
export { type Inputs, makeInputs, TREE } from "./inputs.ts";
export { CPUS, type GuestRun, MEMORY_BYTES, type Reader, type Reading, readInGuest } from "./readings.ts";

export interface GuestBenchOptions {
  /** Guests of each case. */
  readonly rounds: number;
  readonly cases: readonly CaseId[];
  /** How often `erofsify run` is timed; 0 for not at all. */
  readonly starts: number;
  /** Whether the results replace those in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

// This file is dist/bench/guest/index.js when it runs.
const LAB = fileURLToPath(new URL("../../../samples/lab/", import.meta.url));

/** Runs the benchmark and prints its results. Needs root. */
export async function benchGuest(options: GuestBenchOptions): Promise<void> {
  await withWorkFolder(options.workDirectory, "guest", async (work) => {
    say("making inputs");
    const labEnvironment = await guestEnvironment();
    const linuxSource = (await run(join(LAB, "linux-source.sh"), [])).stdout.trim();
    const inputs = await makeInputs(work, linuxSource);
    const env = { ...process.env, ...labEnvironment };
    const starts: Start[] = [];
    for (let i = 0; i < options.starts; i++) starts.push(await timedStart(inputs, labEnvironment, options));
    const { cases, metadataCacheBytes } = await readAll(inputs, work, env, options);
    checkSame(cases, await countOnHost(inputs));
    const results: Results = {
      benchmark: "guest",
      date: new Date().toISOString(),
      machine: await describeMachine(VERSIONS),
      rounds: options.rounds,
      guestMemoryBytes: MEMORY_BYTES,
      guestCpus: CPUS,
      metadataCacheBytes,
      cases,
      starts,
    };
    process.stdout.write(textReport(results));
    if (options.save) {
      saveReport("guest", { results, svg: drawReport(results), markdown: markdownReport(results) });
      say("saved to bench/results and docs/benchmarks.md");
    }
  });
}

/** Boots guests of all cases in turn, round after round. */
async function readAll(
  inputs: Inputs,
  work: string,
  env: NodeJS.ProcessEnv,
  { rounds, cases: ids, quiet }: GuestBenchOptions,
) {
  const { cases, metadataCacheBytes } = await makeCases(inputs, work);
  const wanted = cases.filter(({ id }) => (ids as readonly string[]).includes(id));
  const runs = new Map(wanted.map(({ id }) => [id, [] as GuestRun[]]));
  for (let round = 1; round <= rounds; round++)
    for (const one of wanted) {
      const found = await readInGuest(one, inputs, round, {
        quiet,
        env,
        onReading: ({ name }, { reader, seconds, disturbed }) =>
          say(
            `round ${round}: ${name}, ${READER_NAMES[reader]}: ${seconds.toFixed(2)} s${disturbed ? ", disturbed" : ""}`,
          ),
      });
      runs.get(one.id)!.push(found);
    }
  const results = wanted.map(({ id, name, kind }): CaseResult => ({ id, name, kind, runs: runs.get(id)! }));
  return { cases: results, metadataCacheBytes };
}

async function timedStart(
  inputs: Inputs,
  env: Readonly<Record<string, string>>,
  { quiet }: GuestBenchOptions,
): Promise<Start> {
  const start = await measureStart(inputs, env, quiet);
  say(`start: first output after ${start.totalMs.toFixed(0)} ms${start.disturbed ? ", disturbed" : ""}`);
  return start;
}

async function countOnHost({ readerPath, unpackedPath }: Inputs): Promise<{ files: number; bytes: number }> {
  const { stdout } = await run(readerPath, [join(unpackedPath, TREE)]);
  const [files, bytes] = stdout.split(" ").map(Number) as [number, number];
  return { files, bytes };
}

const VERSIONS: readonly VersionCommand[] = [
  ["QEMU", join(LAB, "qemu.sh"), "--version"],
  ["virtiofsd", join(LAB, "run-in-lab.sh"), "/usr/libexec/virtiofsd", "--version"],
  ["guest kernel", join(LAB, "kernel.sh")],
  ["busybox", "busybox"],
];

function say(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}
