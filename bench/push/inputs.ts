import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pushImage, type Registry, run, startRegistry } from "../../builder/testkit/index.ts";
import { enterLab, type Lab, type LayoutImage, layoutBlobPath, readLayout } from "../convert/index.ts";

/** An image to convert and push. */
export interface Image {
  readonly id: "image" | "linux-source";
  readonly name: string;
  /** What erofsify is given. */
  readonly source: string;
  /** Its layers as tar.gz. */
  readonly tarballs: readonly string[];
  /** Of these, in bytes. */
  readonly tarBytes: number;
}

/** What is measured, and with. */
export interface Inputs {
  readonly work: string;
  readonly registry: Registry;
  readonly lab: Lab;
  readonly images: readonly Image[];
  readonly layout: LayoutImage;
  /** linux-source-6.1.tar.gz. */
  readonly linuxSource: string;
  stop(): Promise<void>;
}

/** Tag of the image in its layout, given by make-image.sh. */
export const TAG = "latest";

/**
 * Makes or finds the inputs and starts a registry. Needs root.
 * @param isSourceNeeded whether the image itself has to be in that registry
 */
export async function makeInputs(work: string, isSourceNeeded: boolean): Promise<Inputs> {
  const layout = readLayout(await script("demo/make-image.sh", "bench"));
  const linuxSource = await script("lab/linux-source.sh");
  const registry = await startRegistry();
  const lab = await enterLab([work]);
  const reference = `${registry.host}/source/app:${TAG}`;
  if (isSourceNeeded) await pushImage(layout.layout, TAG, reference);
  const layers = layout.layers.map(({ digest }) => layoutBlobPath(layout.layout, digest));
  const bytes = (paths: readonly string[]) => paths.reduce((sum, path) => sum + statSync(path).size, 0);
  const tarBytes = [bytes(layers), bytes([linuxSource])] as const;
  const mb = (value: number) => `${Math.round(value / 1e6)} MB`;
  // Every program finds the inputs in the page cache.
  await run("sh", ["-c", 'cat "$@" >/dev/null', "sh", linuxSource, ...layers]);
  return {
    work,
    registry,
    lab,
    layout,
    linuxSource,
    images: [
      {
        id: "image",
        name: `three layers of Debian packages, ${mb(tarBytes[0])} as tar.gz`,
        source: reference,
        tarballs: layers,
        tarBytes: tarBytes[0],
      },
      {
        id: "linux-source",
        name: `linux-source-6.1, ${mb(tarBytes[1])} as tar.gz`,
        source: `tar:${linuxSource}`,
        tarballs: [linuxSource],
        tarBytes: tarBytes[1],
      },
    ],
    async stop() {
      await lab.stop();
      await registry.stop();
    },
  };
}

/** Runs a script of samples/ and returns the path that it prints. */
async function script(path: string, ...args: string[]): Promise<string> {
  // This file is dist/bench/push/inputs.js when it runs.
  const { stdout } = await run(fileURLToPath(new URL(`../../../samples/${path}`, import.meta.url)), args);
  return stdout.trim();
}
