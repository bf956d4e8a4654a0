/**
 * Images pulled and run by containerd, with our snapshotter and with its own, in one containerd and from one registry:
 * see docs/benchmarks.md.
 */
import { fileURLToPath } from "node:url";
import { pushImage, run, startRegistry } from "../../builder/testkit/index.ts";
import { addConverted, ContainerdLab } from "../../samples/containerd/index.ts";
import { readLayout } from "../convert/layout.ts";
import { describeMachine, type QuietOptions, saveReport, say, withWorkFolder } from "../kit/index.ts";
import { CASES, type Case, measureCase, type Sample } from "./cases.ts";
import { drawReport, markdownReport, textReport } from "./report.ts";
import { caseResult, type Results } from "./results.ts";

export interface ContainerdBenchOptions {
  readonly rounds: number;
  /** Whether the results replace those in bench/results and docs/benchmarks.md. */
  readonly save: boolean;
  /** Where containerd's state is while it is measured. */
  readonly workDirectory: string;
  readonly quiet: QuietOptions;
}

/** The image's tag in its layout, given by make-image.sh. */
const TAG = "latest";
/** This file is dist/bench/containerd/index.js when it runs. */
const MAKE_IMAGE = fileURLToPath(new URL("../../../samples/demo/make-image.sh", import.meta.url));

/** Runs the benchmark and prints its results. Needs root. */
export async function benchContainerd(options: ContainerdBenchOptions): Promise<void> {
  say("making the image, starting registry and containerd");
  const image = readLayout((await run(MAKE_IMAGE, ["bench"])).stdout.trim());
  const registry = await startRegistry();
  const lab = await ContainerdLab.start({ parent: options.workDirectory });
  try {
    await lab.startServe();
    const plain = `${registry.host}/bench:${TAG}`;
    const converted = `${registry.host}/converted:${TAG}`;
    for (const reference of [plain, converted]) await pushImage(image.layout, TAG, reference, "v2s2");
    await withWorkFolder(options.workDirectory, "converted", async (work) => {
      await addConverted(converted, work, "referrer");
    });
    const samples = new Map<Case, Sample[]>();
    for (let round = 1; round <= options.rounds; round++)
      for (const one of CASES) {
        const sample = await measureCase(lab, one, one.isServed ? converted : plain, options.quiet);
        samples.set(one, [...(samples.get(one) ?? []), sample]);
        say(`round ${round}: ${one.name}: ${JSON.stringify(sample)}`);
      }
    const { command, args } = lab.ctrCommand("--version");
    const results: Results = {
      benchmark: "containerd",
      date: new Date().toISOString(),
      machine: await describeMachine([["containerd", command, ...args]]),
      rounds: options.rounds,
      image: { layers: image.layers.length, compressedBytes: image.layers.reduce((sum, { size }) => sum + size, 0) },
      cases: CASES.map((one) => caseResult(one, samples.get(one)!)),
    };
    process.stdout.write(textReport(results));
    if (!options.save) return;
    saveReport("containerd", { results, svg: drawReport(results), markdown: markdownReport(results) });
    say("saved to bench/results and docs/benchmarks.md");
  } finally {
    await lab.stop();
    await registry.stop();
  }
}
