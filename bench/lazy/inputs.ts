import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFsload } from "../../builder/guestkit/index.ts";
import { openImage } from "../../builder/open/index.ts";
import { erofsify, pushImage, type Registry, run, startRegistry } from "../../builder/testkit/index.ts";
import { OCI_MANIFEST, parseManifest, parsePrefetchList } from "../../formats/oci/index.ts";
import { type Workload, type WorkloadId, workloads } from "./workloads.ts";

export interface Inputs {
  readonly registry: Registry;
  /** The image's name in the registry, without host and tag. Tags: TAR, BARE, the workloads' IDs, and `optimizedTag` of these. */
  readonly repository: string;
  /** Holds all of the image. */
  readonly storeRoot: string;
  readonly workloads: readonly Workload[];
  /** Of all blobs, in bytes. */
  readonly contentBytes: number;
  /** As they are in the registry. */
  readonly storedBytes: number;
  /** Of the layers of tar.gz. */
  readonly tarBytes: number;
  /** What each workload's list has, in bytes of content. */
  readonly listedBytes: ReadonlyMap<WorkloadId, number>;
  readonly fsloadPath: string;
}

/** The image as tar.gz. */
export const TAR = "tar";
/** The pushed form without a list. */
export const BARE = "erofs";
/** The image laid out anew by a workload's list, with the list that goes with it. */
export const optimizedTag = (id: WorkloadId) => `${id}-optimized`;

// This file is dist/bench/lazy/inputs.js when it runs.
const MAKE_IMAGE = fileURLToPath(new URL("../../../samples/demo/make-image.sh", import.meta.url));

/** Pushes the image in all its forms; what each workload reads is recorded in a guest. */
export async function makeInputs(
  work: string,
  env: Readonly<Record<string, string>>,
  wanted: readonly WorkloadId[],
  say: (message: string) => void,
): Promise<Inputs> {
  const registry = await startRegistry();
  const layout = (await run(MAKE_IMAGE, ["bench"])).stdout.trim();
  const repository = "bench";
  const name = (tag: string) => `${registry.host}/${repository}:${tag}`;
  await pushImage(layout, "latest", name(TAR));
  const storeRoot = join(work, "store");
  const inStore = { ...env, EROFSIFY_STORE: storeRoot, EROFSIFY_SERVE_IDLE: "2" };
  const erofsifyIn = async (args: readonly string[], env: Readonly<Record<string, string>> = inStore) => {
    const { status, stdout, stderr } = await erofsify(args, { env });
    if (status !== 0) throw new Error(`erofsify ${args.join(" ").slice(0, 300)}: ${stderr}`);
    return stdout;
  };
  const pushed = JSON.parse(await erofsifyIn(["push", "--json", "--quiet", name(TAR), "--to", name(BARE)]));
  const image = await openImage(name(TAR), { storeRoot });
  const all = workloads(image.reader).filter(({ id }) => wanted.includes(id));
  image.close();
  const listedBytes = new Map<WorkloadId, number>();
  // Optimized images take the name of the one that they are made of: they have a store of their own.
  const hotRoot = join(work, "hot");
  const inHotStore = { ...env, EROFSIFY_STORE: hotRoot };
  const plain = JSON.parse(await erofsifyIn(["--json", "--quiet", name(TAR)], inHotStore)) as { image: string };
  for (const { id, script } of all.filter(({ isListed }) => isListed)) {
    say(`recording what is read: ${id}`);
    const list = join(work, `${id}.json`);
    const record = ["--lazy", "--quiet", "--memory", "2GiB", "--record", list];
    await erofsifyIn(["run", ...record, name(BARE), "--", "sh", "-c", script]);
    await erofsifyIn(["push", "--quiet", "--prefetch", list, name(TAR), "--to", name(id)]);
    listedBytes.set(id, await sumOf(list));
    const hot = join(work, `${id}-hot.json`);
    await erofsifyIn(["optimize", "--quiet", plain.image, "--trace", list, "-o", hot], inHotStore);
    await erofsifyIn(["push", "--quiet", "--prefetch", hot, name(TAR), "--to", name(optimizedTag(id))], inHotStore);
    await rm(list);
    await rm(hot);
  }
  await rm(hotRoot, { recursive: true });
  return {
    registry,
    repository,
    storeRoot,
    workloads: all,
    contentBytes: pushed.contentBytes,
    storedBytes: pushed.storedBytes,
    tarBytes: await layerBytes(`http://${registry.host}/v2/${repository}/manifests/${TAR}`),
    listedBytes,
    fsloadPath: await compileFsload(work),
  };
}

async function layerBytes(url: string): Promise<number> {
  const response = await fetch(url, { headers: { accept: OCI_MANIFEST } });
  const manifest = parseManifest(Buffer.from(await response.arrayBuffer()));
  if (manifest.kind !== "manifest") throw new Error(`${url} is an index`);
  return manifest.layers.reduce((sum, { size }) => sum + size, 0);
}

async function sumOf(path: string): Promise<number> {
  return parsePrefetchList(await readFile(path)).ranges.reduce((sum, { bytes }) => sum + bytes, 0);
}
