import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run, storeState } from "../../builder/testkit/index.ts";
import { type ContainerdLab, SNAPSHOTTER } from "../../samples/containerd/index.ts";
import { type Disturbance, measure, processCpu, type QuietOptions, type Run, whenQuiet } from "../kit/index.ts";

/** A snapshotter of containerd, by the name it has there. */
export interface Case {
  readonly name: string;
  readonly kind: "ours" | "peer";
  readonly snapshotter: string;
  /** The image has a converted form in the registry, and is served from there. */
  readonly isServed?: boolean;
}

export const CASES: readonly Case[] = [
  { name: "blobd snapshotter", kind: "ours", snapshotter: SNAPSHOTTER },
  { name: "blobd snapshotter, on demand", kind: "ours", snapshotter: SNAPSHOTTER, isServed: true },
  { name: "overlayfs", kind: "peer", snapshotter: "overlayfs" },
  { name: "containerd's erofs", kind: "peer", snapshotter: "erofs" },
];

/** Containers started one after the other, once the image is warm, after the first one. */
const STARTS = 19;
/** How long garbage collection may take, in ms. */
const PATIENCE_MS = 60_000;

/** What one round found of a case; seconds by the clock of whoever waits for ctr. */
export interface Sample extends Disturbance {
  /** `ctr images pull`, which unpacks. */
  readonly pullSeconds: number;
  /** Processor time of the pull: ctr, containerd, snapshotter, converters. */
  readonly pullCpuSeconds: number;
  /** `ctr run --rm IMAGE true`, right after the pull. */
  readonly firstSeconds: number;
  /** Median of the same, 19 more times. */
  readonly nextSeconds: number;
  /** The 20th of all. */
  readonly twentiethSeconds: number;
  /** Disk that the unpacked image takes, in bytes, without containerd's copy of the layers. */
  readonly diskBytes: number;
}

/** Pulls an image, runs it, and removes it again. */
export async function measureCase(
  lab: ContainerdLab,
  { snapshotter }: Case,
  image: string,
  quiet: QuietOptions,
): Promise<Sample> {
  const ctr = (...args: string[]): Promise<Run> => measure(lab.ctrCommand(...args), lab.directory);
  const start = (id: string) => ctr("run", "--rm", "--snapshotter", snapshotter, image, id, "/bin/true");
  const before = daemonCpu(lab);
  const pull = await whenQuiet(quiet, () => ctr("images", "pull", "--plain-http", "--snapshotter", snapshotter, image));
  const first = await start("first");
  const pullCpuSeconds = daemonCpu(lab) - before + pull.userSeconds + pull.systemSeconds;
  const diskBytes = await diskUse(lab, snapshotter);
  const next: number[] = [];
  for (let i = 0; i < STARTS; i++) next.push((await start(`next-${i}`)).wallSeconds);
  const twentiethSeconds = next.at(-1)!;
  next.sort((a, b) => a - b);
  await removeImage(lab, image);
  const { wallSeconds: pullSeconds, othersSeconds, stolenSeconds } = pull;
  return {
    pullSeconds,
    pullCpuSeconds,
    firstSeconds: first.wallSeconds,
    nextSeconds: next[STARTS >> 1]!,
    twentiethSeconds,
    diskBytes,
    othersSeconds,
    stolenSeconds,
  };
}

/** Processor time of containerd, snapshotter and its converters so far, in seconds. */
function daemonCpu(lab: ContainerdLab): number {
  const { snapshotterPid: pid } = lab;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
  return [lab.containerdPid, pid, ...children.map(Number)]
    .map(processCpu)
    .reduce((sum, { user, system }) => sum + user + system, 0);
}

async function diskUse(lab: ContainerdLab, snapshotter: string): Promise<number> {
  const own = join(lab.directory, `root/io.containerd.snapshotter.v1.${snapshotter}`);
  const paths =
    snapshotter === SNAPSHOTTER
      ? [join(lab.store, "blobs"), join(lab.store, "partial"), join(lab.root, "snapshots")]
      : [own];
  const outside = paths.map((path) => lab.outside(path));
  // A container that has just ended is being removed, and du complains of what goes while it counts.
  const script = 'du --summarize --total --block-size=1 "$@" 2>/dev/null || true';
  const { stdout } = await run("sh", ["-c", script, "sh", ...outside]);
  return Number(/^(\d+)\ttotal$/m.exec(stdout)?.[1]);
}

/** Removes the image and waits until nothing of it is left, so that the next round begins as this one. */
async function removeImage(lab: ContainerdLab, image: string): Promise<void> {
  await lab.ctr("images", "rm", "--sync", image);
  for (const endMs = performance.now() + PATIENCE_MS; ; await sleep(200)) {
    const partial = readdirSync(lab.outside(join(lab.store, "partial")));
    if (storeState(lab.outside(lab.store)).blobs.length + partial.length === 0) break;
    if (performance.now() > endMs) throw new Error(`the store still holds ${image}`);
  }
  await run("sync", []);
}
