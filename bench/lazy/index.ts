/** Guests of an image that is not here yet: what a start costs, and what is fetched. See docs/benchmarks.md. */
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { erofsify, guestEnvironment, run } from "../../builder/testkit/index.ts";
import {
  describeMachine,
  LAB_VERSIONS,
  publish,
  type QuietOptions,
  say,
  type VersionCommand,
  withWorkFolder,
} from "../kit/index.ts";
import { measureHost } from "./host.ts";
import { BARE, type Inputs, makeInputs, optimizedTag, TAR } from "./inputs.ts";
import { type Link, type LinkOptions, startLink } from "./link.ts";
import { reportOf } from "./report.ts";
import { MODES, type Mode, type Results, type WorkloadResult } from "./results.ts";
import { measureStart, type Start } from "./starts.ts";
import type { WorkloadId } from "./workloads.ts";

export { WORKLOAD_IDS } from "./workloads.ts";

export interface LazyBenchOptions {
  /** Guests of each workload in each way. */
  readonly rounds: number;
  readonly workloads: readonly WorkloadId[];
  readonly link: LinkOptions;
  /** Whether the host's part is measured. */
  readonly host: boolean;
  /** Whether the results replace those in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

/** Runs the benchmark and prints its results. Needs root. */
export async function benchLazy(options: LazyBenchOptions): Promise<void> {
  await withWorkFolder(options.workDirectory, "lazy", async (work) => {
    say("making inputs");
    const env = await guestEnvironment();
    const inputs = await makeInputs(work, env, options.workloads, say);
    const link = await startLink(inputs.registry.host, options.link);
    try {
      const { convertSeconds, workloads } = await startAll(inputs, link, work, env, options);
      say("the host's part");
      const host = options.host ? await measureHost(inputs, work, options.quiet) : undefined;
      const results: Results = {
        benchmark: "lazy",
        date: new Date().toISOString(),
        machine: await describeMachine(VERSIONS),
        rounds: options.rounds,
        link: options.link,
        contentBytes: inputs.contentBytes,
        storedBytes: inputs.storedBytes,
        tarBytes: inputs.tarBytes,
        convertSeconds,
        workloads,
        ...(host && { host }),
      };
      publish("lazy", results, reportOf(results), options.save);
    } finally {
      link.stop();
      await inputs.registry.stop();
    }
  });
}

async function startAll(
  inputs: Inputs,
  link: Link,
  work: string,
  env: Readonly<Record<string, string>>,
  { rounds, quiet }: LazyBenchOptions,
) {
  const convertSeconds: number[] = [];
  const starts = inputs.workloads.map(() => ({
    warm: [] as Start[],
    lazy: [] as Start[],
    listed: [] as Start[],
    optimized: [] as Start[],
  }));
  for (let round = 1; round <= rounds; round++) {
    convertSeconds.push(await convertSecondsOf(inputs, link, join(work, "converted")));
    say(`round ${round}: converted in ${convertSeconds.at(-1)!.toFixed(1)} s`);
    for (const [at, workload] of inputs.workloads.entries())
      for (const mode of MODES) {
        if ((mode === "listed" || mode === "optimized") && !workload.isListed) continue;
        const start = await startOne(inputs, link, join(work, mode), mode, workload, env, quiet);
        starts[at]![mode].push(start);
        say(
          `round ${round}: ${workload.name}, ${mode}: ${(start.firstMs / 1000).toFixed(1)} s, ` +
            `${(start.doneMs / 1000).toFixed(1)} s, ${(start.fetchedBytes / 1e6).toFixed(1)} MB` +
            `${start.disturbed ? ", disturbed" : ""}`,
        );
      }
  }
  const workloads = inputs.workloads.map(
    ({ id, name }, at): WorkloadResult => ({
      id,
      name,
      listedBytes: inputs.listedBytes.get(id) ?? 0,
      starts: starts[at]!,
    }),
  );
  return { convertSeconds, workloads };
}

/** Fetches the image over the link and converts it. */
async function convertSecondsOf(inputs: Inputs, { host }: Link, store: string): Promise<number> {
  const { status, stderr, seconds } = await erofsify([
    "--quiet",
    "--store",
    store,
    `${host}/${inputs.repository}:${TAR}`,
  ]);
  if (status !== 0) throw new Error(`erofsify: ${stderr}`);
  await rm(store, { recursive: true });
  await run("sync", []);
  return seconds;
}

async function startOne(
  inputs: Inputs,
  { host }: Link,
  store: string,
  mode: Mode,
  workload: Inputs["workloads"][number],
  env: Readonly<Record<string, string>>,
  quiet: QuietOptions,
): Promise<Start> {
  if (mode === "warm") {
    const image = `${inputs.registry.host}/${inputs.repository}:${TAR}`;
    return measureStart(["--store", inputs.storeRoot, image], workload, env, quiet);
  }
  const tags = { lazy: BARE, listed: workload.id, optimized: optimizedTag(workload.id) };
  const image = `${host}/${inputs.repository}:${tags[mode]}`;
  const start = await measureStart(
    ["--lazy", "--store", store, image],
    workload,
    { ...env, EROFSIFY_SERVE_IDLE: "1" },
    quiet,
  );
  // blobd serve, which the command has started, ends by itself.
  for (let i = 0; i < 200 && readFileSync("/proc/mounts", "utf8").includes(store); i++) await sleep(100);
  await rm(store, { recursive: true });
  return start;
}

const VERSIONS: readonly VersionCommand[] = [
  LAB_VERSIONS.qemu,
  LAB_VERSIONS.kernel,
  ["docker-registry", "docker-registry", "--version"],
];
