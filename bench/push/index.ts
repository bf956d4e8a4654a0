/** Images in a registry: how fast they get there, how large they are, what a new version adds. See docs/benchmarks.md. */
import {
  describeMachine,
  markdownReport,
  type QuietOptions,
  saveReport,
  say,
  textReport,
  type VersionCommand,
  withWorkFolder,
} from "../kit/index.ts";
import { type Inputs, makeInputs } from "./inputs.ts";
import { measureJobs } from "./jobs.ts";
import { reportOf } from "./report.ts";
import { type Results, withSaved } from "./results.ts";
import { type ImageResult, measureImage } from "./throughput.ts";
import { measureTrees } from "./trees.ts";
import { measureVersions } from "./versions.ts";

export const PARTS = ["images", "versions", "jobs", "trees"] as const;
export type Part = (typeof PARTS)[number];

export interface PushBenchOptions {
  readonly parts: readonly Part[];
  /** Whether the results replace those of the same parts in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

/** Runs the benchmark and prints its results; what is saved is saved part by part. Needs root. */
export async function benchPush(options: PushBenchOptions): Promise<void> {
  await withWorkFolder(options.workDirectory, "push", async (work) => {
    say("making inputs");
    const inputs = await makeInputs(work, options.parts.includes("images"));
    try {
      const machine = await describeMachine(versionsOf(inputs));
      let results: Results = { benchmark: "push", machine, dates: {} };
      if (options.save) results = withSaved(results);
      for (const part of options.parts) {
        say(part);
        const found = { [part]: await MEASURES[part](inputs, options.quiet) };
        results = { ...results, ...found, dates: { ...results.dates, [part]: new Date().toISOString() } };
        const report = reportOf(results);
        if (options.save) saveReport("push", { results, svg: report.svg, markdown: markdownReport(report) });
      }
      process.stdout.write(textReport(reportOf(results)));
      if (options.save) say("saved to bench/results and docs/benchmarks.md");
    } finally {
      await inputs.stop();
    }
  });
}

const MEASURES: Readonly<Record<Part, (inputs: Inputs, quiet: QuietOptions) => Promise<unknown>>> = {
  images: measureImages,
  versions: measureVersions,
  jobs: measureJobs,
  trees: measureTrees,
};

async function measureImages(inputs: Inputs, quiet: QuietOptions): Promise<ImageResult[]> {
  const results: ImageResult[] = [];
  for (const image of inputs.images) {
    say(image.name);
    results.push(await measureImage(inputs, image, quiet));
  }
  return results;
}

function versionsOf({ lab }: Inputs): VersionCommand[] {
  const mkfs = lab.command("mkfs.erofs", "--version");
  return [
    ["mkfs.erofs", mkfs.command, ...mkfs.args],
    ["zstd", "zstd", "--version"],
    ["skopeo", "skopeo", "--version"],
    ["veritysetup", "veritysetup", "--version"],
    ["docker-registry", "docker-registry", "--version"],
  ];
}
