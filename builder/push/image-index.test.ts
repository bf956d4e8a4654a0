import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { FetchedManifest } from "../../blobd/registry/index.ts";
import { type Digest, OCI_INDEX, OCI_MANIFEST, parseManifest } from "../../formats/oci/index.ts";
import { imageIndex, isIndexOf } from "./image-index.ts";

// What an index in an image's place is made of.

const digestOf = (text: string): Digest => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const fetched = (bytes: Buffer): FetchedManifest => ({
  document: parseManifest(bytes),
  digest: digestOf(bytes.toString()),
  bytes,
});
const json = (value: object) => fetched(Buffer.from(JSON.stringify(value)));
const entry = (name: string, architecture: string) => ({
  mediaType: OCI_MANIFEST,
  digest: digestOf(name),
  size: 10,
  platform: { os: "linux", architecture },
});
const descriptor = (name: string) => ({ mediaType: OCI_MANIFEST, digest: digestOf(name), size: 10 });

const AMD64 = { os: "linux", architecture: "amd64" };
const ARM64 = { os: "linux", architecture: "arm64" };
const INDEX = json({
  manifests: [entry("amd64", "amd64"), entry("arm64", "arm64"), { ...descriptor("signature"), artifactType: "a/b" }],
  schemaVersion: 2,
  annotations: { unknown: "kept" },
});
const MANIFEST = json({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: descriptor("config"), layers: [] });
const converted = (name: string, platform: typeof AMD64) => ({ descriptor: descriptor(name), platform });
const made = (source: FetchedManifest, ...entries: ReturnType<typeof converted>[]) =>
  fetched(imageIndex(source, AMD64, entries));

test("an index is made of the image or the index whose place it has taken, whatever is converted behind", () => {
  assert.ok(isIndexOf(made(MANIFEST, converted("x", AMD64)), MANIFEST));
  assert.ok(isIndexOf(made(INDEX, converted("x", AMD64), converted("y", ARM64)), INDEX));
  assert.ok(isIndexOf(made(INDEX, converted("z", ARM64)), INDEX), "one platform of it");
  assert.ok(isIndexOf(made(made(INDEX, converted("x", AMD64)), converted("y", AMD64)), INDEX), "twice");
});

test("nothing else is made of it", () => {
  const ofIndex = made(INDEX, converted("x", AMD64), converted("y", ARM64));
  const ofManifest = made(MANIFEST, converted("x", AMD64));
  assert.ok(!isIndexOf(MANIFEST, MANIFEST), "an image");
  assert.ok(!isIndexOf(INDEX, INDEX), "nothing in it is converted");
  assert.ok(!isIndexOf(ofIndex, MANIFEST) && !isIndexOf(ofManifest, INDEX));
  const raw = JSON.parse(INDEX.bytes.toString());
  const fewer = json({ ...raw, manifests: raw.manifests.slice(1) });
  assert.ok(!isIndexOf(made(fewer, converted("x", AMD64)), INDEX), "an entry less");
  assert.ok(!isIndexOf(made(json({ ...raw, annotations: {} }), converted("x", AMD64)), INDEX), "another annotation");
  const listed = [{ ...entry("amd64", "amd64"), digest: MANIFEST.digest }, entry("arm64", "arm64")];
  const around = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: listed });
  assert.ok(!isIndexOf(made(around, converted("x", AMD64)), MANIFEST), "an index of more images than the one");
});
