import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  type Index,
  MAX_LAYERS,
  MAX_MANIFEST_BYTES,
  type Manifest,
  OCI_INDEX,
  OCI_MANIFEST,
  offeredPlatforms,
  parseImageConfig,
  parseManifest,
  parsePlatform,
  selectEntry,
} from "./index.ts";

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, "0")}`;
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const CONFIG = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest(1), size: 10 };
const LAYER = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: digest(2), size: 20 };
const MANIFEST = { schemaVersion: 2, config: CONFIG, layers: [LAYER] };
const entry = (n: number, platform?: object, more?: object) => ({
  mediaType: OCI_MANIFEST,
  digest: digest(n),
  size: 1,
  ...(platform && { platform }),
  ...more,
});

for (const [name, value, contentType, mediaType] of [
  ["OCI manifest", { mediaType: OCI_MANIFEST, ...MANIFEST }, OCI_MANIFEST, OCI_MANIFEST],
  ["manifest without mediaType or Content-Type", MANIFEST, undefined, OCI_MANIFEST],
  ["manifest whose type only the header tells", MANIFEST, `${DOCKER_MANIFEST}; charset=utf-8`, DOCKER_MANIFEST],
  ["manifest behind a careless Content-Type", MANIFEST, "text/plain", OCI_MANIFEST],
  ["Docker list", { schemaVersion: 2, mediaType: DOCKER_LIST, manifests: [] }, undefined, DOCKER_LIST],
  ["index without mediaType", { schemaVersion: 2, manifests: [entry(3)] }, undefined, OCI_INDEX],
] as const)
  test(`${name} is a ${mediaType}`, () => {
    assert.equal(parseManifest(bytes(value), contentType).mediaType, mediaType);
  });

test("a manifest's descriptors are read in order", () => {
  const second = { ...LAYER, digest: digest(3), urls: ["https://example.com/x"], annotations: { a: "b" } };
  const manifest = parseManifest(bytes({ ...MANIFEST, layers: [LAYER, second], annotations: null })) as Manifest;
  assert.equal(manifest.config.digest, CONFIG.digest);
  assert.deepEqual(
    manifest.layers.map((l) => [l.digest, l.size, l.urls, l.annotations.get("a")]),
    [
      [digest(2), 20, [], undefined],
      [digest(3), 20, ["https://example.com/x"], "b"],
    ],
  );
});

for (const [name, value, contentType, says] of [
  ["schema 1", { schemaVersion: 1, fsLayers: [] }, undefined, /schema 1.*push the image again/],
  ["schema 1 by type", {}, "application/vnd.docker.distribution.manifest.v1+prettyjws", /schema 1/],
  ["layers and manifests", { ...MANIFEST, manifests: [] }, undefined, /both layers and manifests/],
  ["type and header apart", { mediaType: DOCKER_MANIFEST, ...MANIFEST }, OCI_MANIFEST, /delivered as/],
  ["an index by type only", { mediaType: OCI_INDEX, ...MANIFEST }, undefined, /has no manifests/],
  ["an unknown type", { mediaType: "application/x", ...MANIFEST }, OCI_MANIFEST, /application\/x/],
  ["another schema version", { ...MANIFEST, schemaVersion: 3 }, undefined, /schemaVersion.*expected 2/],
  ["no config", { schemaVersion: 2, layers: [] }, undefined, /manifest\.config: found nothing, expected an object/],
  ["a layer that is no object", { ...MANIFEST, layers: [1] }, undefined, /manifest\.layers\[0\]: found 1/],
  ["a negative size", { ...MANIFEST, layers: [{ ...LAYER, size: -1 }] }, undefined, /layers\[0\]\.size: found -1/],
  ["a size in text", { ...MANIFEST, layers: [{ ...LAYER, size: "20" }] }, undefined, /layers\[0\]\.size: found "20"/],
  ["a path as digest", { ...MANIFEST, config: { ...CONFIG, digest: "../../x" } }, undefined, /config\.digest: found/],
  ["sha512", { ...MANIFEST, config: { ...CONFIG, digest: "sha512:ab" } }, undefined, /only sha256/],
  ["an array", [], undefined, /manifest: found an array, expected an object/],
  ["null", null, undefined, /expected an object/],
] as const)
  test(`a manifest with ${name} is refused`, () => {
    assert.throws(() => parseManifest(bytes(value), contentType), { name: "DocumentError", message: says });
  });

test("an HTML page is refused as not JSON, and shown", () => {
  assert.throws(() => parseManifest(Buffer.from("<html>no</html>")), { code: "ERR_NOT_JSON", message: /"<html>no/ });
  assert.throws(() => parseManifest(Buffer.from([0xff, 0xfe, 0x7b])), { code: "ERR_NOT_JSON" });
});

test("sizes and counts are accepted up to their limit", () => {
  const layers = (n: number) => bytes({ ...MANIFEST, layers: new Array(n).fill(LAYER) });
  assert.equal((parseManifest(layers(MAX_LAYERS)) as Manifest).layers.length, MAX_LAYERS);
  assert.throws(() => parseManifest(layers(MAX_LAYERS + 1)), /has 1025 items, at most 1024/);
  const padded = (n: number) => Buffer.concat([bytes(MANIFEST), Buffer.alloc(n, " ")], n);
  assert.equal(parseManifest(padded(MAX_MANIFEST_BYTES)).kind, "manifest");
  assert.throws(() => parseManifest(padded(MAX_MANIFEST_BYTES + 1)), /4194305 bytes long/);
});

const INDEX = parseManifest(
  bytes({
    schemaVersion: 2,
    manifests: [
      entry(1, { os: "unknown", architecture: "unknown" }, { annotations: { "vnd.docker.reference.type": "x" } }),
      entry(2, { os: "linux", architecture: "amd64", "os.features": ["erofs"] }),
      entry(3, { os: "linux", architecture: "amd64" }),
      entry(4, { os: "linux", architecture: "amd64" }),
      entry(5, { os: "linux", architecture: "arm", variant: "v6" }),
      entry(6, { os: "linux", architecture: "arm", variant: "v7" }),
      entry(7, { os: "linux", architecture: "s390x" }, { artifactType: "application/vnd.example" }),
    ],
  }),
) as Index;

for (const [platform, expected] of [
  ["linux/amd64", 3],
  ["linux/arm/v7", 6],
  ["linux/arm/v6", 5],
  ["linux/s390x", undefined],
  ["linux/arm64", undefined],
] as const)
  test(`for ${platform} the index gives ${expected ?? "nothing"}`, () => {
    const found = selectEntry(INDEX, parsePlatform(platform));
    assert.equal(found?.digest, expected === undefined ? undefined : digest(expected));
  });

test("attestations, artifacts and EROFS variants are not offered", () => {
  assert.deepEqual(offeredPlatforms(INDEX), ["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
});

test("an entry without platform is taken only when nothing else fits", () => {
  const amd64 = entry(1, { os: "linux", architecture: "amd64" });
  const index = parseManifest(bytes({ schemaVersion: 2, manifests: [entry(9), amd64] })) as Index;
  assert.equal(selectEntry(index, parsePlatform("linux/amd64"))?.digest, digest(1));
  assert.equal(selectEntry(index, parsePlatform("linux/arm64"))?.digest, digest(9));
});

test("an image config is read, nulls and absences included", () => {
  const raw = bytes({
    architecture: "arm64",
    os: "linux",
    variant: "v8",
    config: { Env: ["A=b"], Entrypoint: null, Cmd: ["sh"], Labels: { __proto__x: "1", l: "m" }, Volumes: { "/v": {} } },
    rootfs: { type: "layers", diff_ids: [digest(7)] },
  });
  const { platform, config, diffIds, raw: kept } = parseImageConfig(raw);
  assert.deepEqual(platform, { os: "linux", architecture: "arm64", variant: "v8", osFeatures: [] });
  assert.deepEqual([config.env, config.entrypoint, config.cmd], [["A=b"], null, ["sh"]]);
  assert.deepEqual([config.user, config.workingDir, config.volumes], ["", "", ["/v"]]);
  assert.equal(config.labels.l, "m");
  assert.deepEqual(diffIds, [digest(7)]);
  assert.equal(kept, raw);
  assert.deepEqual(parseImageConfig(bytes({})).diffIds, []);
});

for (const [value, says] of [
  [{ rootfs: { diff_ids: ["sha256:xyz"] } }, /config\.rootfs\.diff_ids\[0\]: found "sha256:xyz"/],
  [{ config: { Env: "A=b" } }, /config\.config\.Env/],
  [{ config: { Labels: { a: 1 } } }, /config\.config\.Labels\.a: found 1, expected a string/],
] as const)
  test(`the config ${JSON.stringify(value)} is refused`, () => {
    assert.throws(() => parseImageConfig(bytes(value)), { name: "DocumentError", message: says });
  });
