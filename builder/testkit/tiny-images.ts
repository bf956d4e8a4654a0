/** Images that are pushed in a few requests. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { buildTar, type TarEntry } from "./tar-builder.ts";

const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** An image of one uncompressed layer, as documents and blobs. */
export function tinyImage(entries: readonly TarEntry[], architecture = "amd64") {
  const layer = buildTar(entries);
  const config = Buffer.from(
    JSON.stringify({ architecture, os: "linux", rootfs: { type: "layers", diff_ids: [sha256(layer)] } }),
  );
  const describe = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: describe("application/vnd.oci.image.config.v1+json", config),
    layers: [describe("application/vnd.oci.image.layer.v1.tar", layer)],
  };
  return { manifest, blobs: [config, layer] };
}

/** Pushes blobs and a manifest. @returns The manifest's digest. */
export async function putImage(
  host: string,
  repository: string,
  tag: string,
  { manifest, blobs }: { manifest: { mediaType: string }; blobs: readonly Buffer[] },
): Promise<string> {
  for (const blob of blobs) {
    const begun = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    assert.equal(begun.status, 202);
    const place = new URL(begun.headers.get("location")!, `http://${host}`);
    place.searchParams.set("digest", sha256(blob));
    assert.equal((await fetch(place, { method: "PUT", body: new Uint8Array(blob) })).status, 201);
  }
  const body = Buffer.from(JSON.stringify(manifest));
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, {
    method: "PUT",
    headers: { "content-type": manifest.mediaType },
    body: new Uint8Array(body),
  });
  assert.equal(answer.status, 201, await answer.text());
  return sha256(body);
}

/** A manifest in a registry, as JSON and as it is; undefined when there is none. */
export async function getManifest(host: string, repository: string, reference: string) {
  const types = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"];
  const response = await fetch(`http://${host}/v2/${repository}/manifests/${reference}`, {
    headers: { accept: types.join(", ") },
  });
  if (response.status === 404) return undefined;
  assert.equal(response.status, 200);
  const bytes = Buffer.from(await response.arrayBuffer());
  return { digest: sha256(bytes), bytes, manifest: JSON.parse(bytes.toString()) };
}
