/** For tests: a small image in layers, and what is left of a lab's images. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  buildTar,
  busyboxLayer,
  describeTree,
  storeState,
  type TarEntry,
  type TreeDescription,
  writeOciLayout,
} from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import type { ContainerdLab } from "./lab.ts";

/** Programs of the images here. */
const APPLETS = [
  "sh",
  "wc",
  "cat",
  "ls",
  "rm",
  "mkdir",
  "ln",
  "chmod",
  "chown",
  "mv",
  "echo",
  "sleep",
  "touch",
  "mount",
];
/** The image's tag in its layout. */
export const TAG = "base";

/** Layers of an image with busybox, small files, and as many more of `bytes` each that do not compress. */
export function imageLayers(more = 0, bytes = 0): Buffer[] {
  const files: TarEntry[] = [
    { name: "data/", type: "5" },
    { name: "data/keep", content: "kept" },
    { name: "data/change", content: "before" },
    { name: "data/remove", content: "x" },
    { name: "tree/", type: "5" },
    { name: "tree/old", content: "old" },
    { name: "gone/", type: "5" },
    { name: "gone/file", content: "x" },
  ];
  const large = Array.from({ length: more }, (_, i) => buildTar([{ name: `large-${i}`, content: randomBytes(bytes) }]));
  return [buildTar(busyboxLayer(APPLETS)), buildTar(files), ...large];
}

/** Writes an image of such layers. */
export async function writeImage(layout: string, more = 0, bytes = 0): Promise<void> {
  await writeOciLayout(layout, TAG, imageLayers(more, bytes), { Cmd: ["/bin/sh"] });
}

let views = 0;
/** Describes the tree of a pulled image, by a view that goes away again. */
export async function describeImage(lab: ContainerdLab, image: string, snapshotter: string): Promise<TreeDescription> {
  const target = join(lab.directory, `view-${views++}`);
  await mkdir(target);
  await lab.ctr("images", "mount", "--snapshotter", snapshotter, image, target);
  try {
    return describeTree(lab.outside(target));
  } finally {
    await lab.ctr("images", "unmount", "--rm", "--snapshotter", snapshotter, target);
  }
}

/** Runs a command in a new container that goes away with it; its output. @throws CommandError */
export async function runContainer(
  lab: ContainerdLab,
  image: string,
  id: string,
  ...command: string[]
): Promise<string> {
  return (await lab.ctr("run", "--snapshotter", SNAPSHOTTER, "--rm", image, id, ...command)).stdout;
}

/** containerd's connection to a plugin that came back takes a while (gRPC's back-off). */
export async function soon<T>(work: () => Promise<T>, most = 25): Promise<T> {
  for (let tries = 0; ; tries++)
    try {
      return await work();
    } catch (error) {
      if (tries === most) throw error;
      await sleep(Math.min(300, 50 << tries));
    }
}

/** What a daemon's metrics are at an address, by their lines' beginnings; 0 for what is not told. */
export async function scrape(address: string): Promise<(series: string) => number> {
  const lines = (await (await fetch(`http://${address}/metrics`)).text()).split("\n");
  return (series) => Number(lines.find((line) => line.startsWith(`${series} `))?.slice(series.length + 1) ?? 0);
}

/** What there is of images and containers. */
export interface Left {
  readonly snapshots: number;
  readonly mounts: readonly string[];
  /** Names in the folders of snapshotter and store. */
  readonly files: readonly string[];
}

export const NOTHING: Left = { snapshots: 0, mounts: [], files: [] };
/** How long containerd's garbage collector and ours may take, in ms. */
const PATIENCE_MS = 30_000;

/** Removes all images and leases, and waits until nothing is left, or gives what stays. */
export async function removeAll(lab: ContainerdLab): Promise<Left> {
  const names = async (...list: string[]) =>
    (await lab.ctr(...list, "ls", "--quiet")).stdout.trim().split("\n").filter(Boolean);
  const images = await names("images");
  if (images.length > 0) await lab.ctr("images", "rm", "--sync", ...images);
  for (const endMs = performance.now() + PATIENCE_MS; ; await sleep(100)) {
    // A plugin that has just come back is not reached at once.
    const left = await whatIsLeft(lab).catch(() => undefined);
    if (left !== undefined && left.files.length + left.snapshots + left.mounts.length === 0) return left;
    if (performance.now() > endMs) return left ?? whatIsLeft(lab);
    // Leases of pulls that were broken off keep their content for a day.
    for (const lease of await names("leases")) await lab.ctr("leases", "rm", "--sync", lease);
    await collectSnapshots(lab).catch(() => {});
  }
}

/** containerd looks for snapshots that its plugin has and it does not only when another one was removed. */
async function collectSnapshots(lab: ContainerdLab): Promise<void> {
  const snapshots = (...args: string[]) => lab.ctr("snapshots", "--snapshotter", SNAPSHOTTER, ...args);
  const key = `collect-${Date.now()}`;
  await snapshots("prepare", key);
  await snapshots("rm", key);
  const lease = (await lab.ctr("leases", "create")).stdout.trim();
  await lab.ctr("leases", "rm", "--sync", lease);
}

async function whatIsLeft(lab: ContainerdLab): Promise<Left> {
  const { stdout } = await lab.ctr("snapshots", "--snapshotter", SNAPSHOTTER, "ls");
  const folders = ["chains", "snapshots", "trash", "tmp"].map((name) => join(lab.root, name));
  const inFolders = await Promise.all([...folders, join(lab.store, "holds")].map((path) => readdir(lab.outside(path))));
  const partial = await readdir(lab.outside(join(lab.store, "partial"))).catch(() => []);
  const { blobs, layers, tmp } = storeState(lab.outside(lab.store));
  return {
    snapshots: stdout.trim().split("\n").length - 1,
    mounts: await lab.mounts(),
    files: [...inFolders.flat(), ...blobs, ...layers, ...tmp, ...partial],
  };
}
