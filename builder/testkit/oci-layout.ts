import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/**
 * Writes an OCI image layout with one image.
 *
 * @param directory the layout's directory, made when absent
 * @param tars the layers, bottom first, as plain tars; stored with gzip
 * @param config fields for the image config's `config`, such as `Cmd`
 */
export async function writeOciLayout(
  directory: string,
  tag: string,
  tars: readonly Uint8Array[],
  config: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const blobs = join(directory, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, bytes: Uint8Array) => {
    const hex = sha256(bytes);
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const putJson = (mediaType: string, value: unknown) => put(mediaType, Buffer.from(JSON.stringify(value)));

  const layers = [];
  for (const tar of tars)
    layers.push(await put("application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(tar, { level: 1 })));
  const configDescriptor = await putJson("application/vnd.oci.image.config.v1+json", {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: tars.map((tar) => `sha256:${sha256(tar)}`) },
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = await putJson(mediaType, { schemaVersion: 2, mediaType, config: configDescriptor, layers });
  const annotations = { "org.opencontainers.image.ref.name": tag };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  await writeFile(join(directory, "index.json"), JSON.stringify(index));
  await writeFile(join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}
