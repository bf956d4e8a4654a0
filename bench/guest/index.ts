/**
 * A guest reads a tree of many small files, as EROFS over virtio-pmem and in the ways that are usual; and how long it takes
 * to start one. See docs/benchmarks.md.
 */
import { join } from "node:path";
import { guestEnvironment, run } from "../../builder/testkit/index.ts";
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
import type { CaseId } from "./case.ts";
import { makeCases } from "./cases.ts";
import { type Inputs, makeInputs, TREE } from "./inputs.ts";
import { CPUS, MEMORY_BYTES, readInGuests } from "./readings.ts";
import { reportOf } from "./report.ts";
import { type CaseResult, checkSame, type Results } from "./results.ts";
import { measureStart, type Start } from "./starts.ts";
import { READER_NAMES } from "./targets.ts";

export { CASE_IDS, type Case } from "./case.ts";
export { makeCases } from "./cases.ts";
export { type Inputs, makeInputs, TREE } from "./inputs.ts";
export { CPUS, type GuestRun, MEMORY_BYTES, type Reader, type Reading, readInGuests } from "./readings.ts";
export { cacheGrowth, over } from "./results.ts";

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
    publish("guest", results, reportOf(results), options.save);
  });
}

/** Every wanted case's readings, and how much of the page cache the image's metadata takes. */
async function readAll(
  inputs: Inputs,
  work: string,
  env: NodeJS.ProcessEnv,
  { rounds, cases: ids, quiet }: GuestBenchOptions,
) {
  const { cases, metadataCacheBytes } = await makeCases(inputs, work);
  const wanted = cases.filter(({ id }) => (ids as readonly string[]).includes(id));
  const read = await readInGuests(wanted, inputs, rounds, {
    quiet,
    env,
    onReading: ({ name }, { reader, seconds, disturbed }, round) =>
      say(`round ${round}: ${name}, ${READER_NAMES[reader]}: ${seconds.toFixed(2)} s${disturbed ? ", disturbed" : ""}`),
  });
  return {
    cases: read.map(({ one: { id, name, kind }, runs }): CaseResult => ({ id, name, kind, runs })),
    metadataCacheBytes,
  };
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
  LAB_VERSIONS.qemu,
  LAB_VERSIONS.virtiofsd,
  LAB_VERSIONS.kernel,
  ["busybox", "busybox"],
];
