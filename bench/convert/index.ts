/**
 * How fast images are converted, and in how much memory, side by side with the tools that do the same: see
 * docs/benchmarks.md.
 */
import {
  type Command,
  describeMachine,
  type QuietOptions,
  saveReport,
  say,
  type VersionCommand,
} from "../kit/index.ts";
import type { Case, Group } from "./case.ts";
import { type Comparison, compareGroup } from "./equality.ts";
import { linuxSource, threeLayers } from "./groups.ts";
import { growth } from "./growth.ts";
import { merges } from "./merges.ts";
import { drawReport, markdownReport, textReport } from "./report.ts";
import { reruns } from "./reruns.ts";
import { collectResults, type Results } from "./results.ts";
import { measureRounds, type Sample } from "./rounds.ts";
import { makeSetting, type Setting } from "./setting.ts";
import { pushVariants } from "./variants.ts";

export { blobPath as layoutBlobPath, type LayoutImage, readLayout } from "./layout.ts";
export { enterLab, erofsify, type Lab, program, shell } from "./programs.ts";

export const GROUPS = ["image", "linux-source", "rerun", "merge", "growth"] as const;

export interface ConvertBenchOptions {
  readonly rounds: number;
  readonly groups: readonly string[];
  /** Whether the trees that come out are compared. */
  readonly compare: boolean;
  /** Whether the results replace those in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  /** Where results are written while they are measured. */
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

/** Runs the benchmark and prints its results. Needs root. */
export async function benchConvert(options: ConvertBenchOptions): Promise<void> {
  say("making inputs, starting registry and containerd");
  const setting = await makeSetting(options.workDirectory);
  const stopAndEnd = () => void setting.stop().finally(() => process.exit(130));
  process.once("SIGINT", stopAndEnd).once("SIGTERM", stopAndEnd);
  try {
    const groups = await makeGroups(setting, options.groups);
    const measurements = await measureRounds(groups, { ...options, onSample: saySample });
    const comparisons: Comparison[] = [];
    if (options.compare)
      for (const group of groups.filter(({ reference }) => reference !== undefined)) {
        say(`comparing results: ${group.id}`);
        comparisons.push(...(await compareGroup(group)));
      }
    const results: Results = {
      benchmark: "convert",
      date: new Date().toISOString(),
      machine: await describeMachine(programs(setting)),
      rounds: options.rounds,
      ...collectResults(groups, measurements),
      comparisons,
    };
    process.stdout.write(textReport(results));
    if (options.save) {
      saveReport("convert", { results, svg: drawReport(results), markdown: markdownReport(results) });
      say("saved to bench/results and docs/benchmarks.md");
    }
  } finally {
    await setting.stop();
  }
}

async function makeGroups(setting: Setting, wanted: readonly string[]): Promise<Group[]> {
  const makers: Record<(typeof GROUPS)[number], () => Group | Promise<Group>> = {
    image: () => threeLayers(setting),
    "linux-source": () => linuxSource(setting),
    rerun: async () => reruns(setting, await pushVariants(setting)),
    merge: () => merges(setting),
    growth: () => growth(setting),
  };
  const groups: Group[] = [];
  for (const id of GROUPS) if (wanted.includes(id)) groups.push(await makers[id]());
  return groups;
}

function programs({ lab, containerd }: Setting): VersionCommand[] {
  const version = (name: string, { command, args }: Command): VersionCommand => [name, command, ...args];
  return [
    version("mkfs.erofs", lab.command("mkfs.erofs", "--version")),
    version("containerd", containerd.versionCommand),
    ["umoci", "umoci", "--version"],
    ["tar", "tar", "--version"],
    ["gzip", "gzip", "--version"],
    ["igzip", "igzip", "--version"],
    ["docker-registry", "docker-registry", "--version"],
  ];
}

function saySample(group: Group, one: Case, sample: Sample): void {
  const { round, wallSeconds, userSeconds, systemSeconds, peakBytes, disturbed, discarded } = sample;
  const cost = `${wallSeconds.toFixed(2)} s, cpu ${(userSeconds + systemSeconds).toFixed(2)} s, ${Math.round(peakBytes / 2 ** 20)} MiB`;
  const noise = `${discarded > 0 ? `, ${discarded} discarded` : ""}${disturbed ? ", disturbed" : ""}`;
  say(`round ${round}: ${group.id}, ${one.name}: ${cost}${noise}`);
}
