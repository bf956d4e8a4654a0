import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { buildTar, pushImage } from "../../builder/testkit/index.ts";
import { blobPath, type Descriptor, digestOf, type LayoutImage } from "./layout.ts";
import { type Setting, TAG } from "./setting.ts";

/** Two zero blocks end a tar. */
const TAR_END_BYTES = 1024;
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";

/** A layer as a layout's descriptor, and the digest of its tar. */
export interface LayoutLayer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
}

/** Writes what makes a directory with layers in blobs/ an OCI layout of one image. */
export function finishLayout(layout: string, layers: readonly LayoutLayer[], config: object = {}): void {
  const put = (mediaType: string, value: object): Descriptor => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    writeFileSync(blobPath(layout, digest), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const rootfs = { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) };
  const platform = { architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux" };
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = put(mediaType, {
    schemaVersion: 2,
    mediaType,
    config: put("application/vnd.oci.image.config.v1+json", { ...platform, ...config, rootfs }),
    layers: layers.map(({ descriptor }) => descriptor),
  });
  const annotations = { "org.opencontainers.image.ref.name": TAG };
  writeFileSync(
    join(layout, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

/** Puts the bytes of a tar into a layout as a layer. */
export function putLayer(layout: string, tar: Uint8Array): LayoutLayer {
  const bytes = gzipSync(tar);
  const digest = digestOf(bytes);
  writeFileSync(blobPath(layout, digest), bytes);
  return { descriptor: { mediaType: LAYER_TYPE, digest, size: bytes.length }, diffId: digestOf(tar) };
}

/** A new layout's directory. */
export function newLayout(setting: Setting, name: string): string {
  const layout = setting.fresh(name);
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  return layout;
}

/** References of images made from the one of the setting. */
export interface Variants {
  /** Its top layer has one file more. */
  readonly topChanged: string;
  /** Only the changed top layer. */
  readonly topAlone: string;
}

/** Makes them and pushes them to the registry. */
export async function pushVariants(setting: Setting): Promise<Variants> {
  const { image } = setting;
  const lower = image.layers.slice(0, -1);
  const layout = newLayout(setting, "variant");
  const top = putLayer(layout, changedTop(image));
  for (const { digest } of lower) symlinkSync(blobPath(image.layout, digest), blobPath(layout, digest));
  const push = async (name: string, layers: readonly LayoutLayer[]) => {
    finishLayout(layout, layers);
    const reference = `${setting.registry.host}/${name}:${TAG}`;
    await pushImage(layout, TAG, reference);
    return reference;
  };
  const lowerLayers = lower.map((descriptor, at) => ({
    descriptor: { ...descriptor, mediaType: LAYER_TYPE },
    diffId: image.config.rootfs.diff_ids[at]!,
  }));
  return { topChanged: await push("top-changed", [...lowerLayers, top]), topAlone: await push("top-alone", [top]) };
}

function changedTop({ layout, layers }: LayoutImage): Buffer {
  const tar = gunzipSync(readFileSync(blobPath(layout, layers.at(-1)!.digest)));
  const added = buildTar([{ name: "srv/demo/added", content: "a line more\n" }]);
  return Buffer.concat([added.subarray(0, -TAR_END_BYTES), tar]);
}
