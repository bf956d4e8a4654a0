import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pushImage, type Registry, run, startRegistry } from "../../builder/testkit/index.ts";
import { type Containerd, startContainerd } from "./containerd.ts";
import { blobPath, type LayoutImage, readLayout } from "./layout.ts";
import { enterLab, type Lab } from "./programs.ts";

/** What the measured programs work on and with. */
export interface Setting {
  /** A directory on the disk for results, which are removed after each measurement. */
  readonly work: string;
  readonly registry: Registry;
  readonly lab: Lab;
  readonly containerd: Containerd;
  /** The three-layer image in its OCI layout, and in the registry with a Docker manifest. */
  readonly image: LayoutImage;
  readonly reference: string;
  /** linux-source-6.1.tar.gz. */
  readonly linuxSource: string;
  /** An absent path in `work`. */
  fresh(name: string): string;
  stop(): Promise<void>;
}

/** Tag of the image in its layout, given by make-image.sh. */
export const TAG = "latest";

/** Makes or finds the inputs and starts the servers. Needs root. */
export async function makeSetting(parent: string): Promise<Setting> {
  const image = readLayout(await script("demo/make-image.sh", "bench"));
  const linuxSource = await script("lab/linux-source.sh");
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(join(parent, "erofsify-bench-"));
  const stops: (() => Promise<void>)[] = [async () => rmSync(work, { recursive: true, force: true })];
  const stop = async () => {
    for (const one of stops.reverse()) await one();
  };
  try {
    const registry = await startRegistry();
    stops.push(() => registry.stop());
    const lab = await enterLab([work, linuxSource]);
    stops.push(() => lab.stop());
    const containerd = await startContainerd(work);
    stops.push(() => containerd.stop());
    const reference = `${registry.host}/bench:${TAG}`;
    await pushImage(image.layout, TAG, reference, "v2s2");
    // Every program finds the inputs in the page cache.
    const inputs = [linuxSource, ...image.layers.map(({ digest }) => blobPath(image.layout, digest))];
    await run("sh", ["-c", 'cat "$@" >/dev/null', "sh", ...inputs]);
    let made = 0;
    return {
      work,
      registry,
      lab,
      containerd,
      image,
      reference,
      linuxSource,
      fresh: (name) => join(work, `${made++}-${name}`),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Runs a script of samples/ and returns the path that it prints. */
async function script(path: string, ...args: string[]): Promise<string> {
  // This file is dist/bench/convert/setting.js when it runs.
  const { stdout } = await run(fileURLToPath(new URL(`../../../samples/${path}`, import.meta.url)), args);
  return stdout.trim();
}
