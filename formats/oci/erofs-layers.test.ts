import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DocumentError,
  erofsImageLayers,
  erofsStackLayers,
  isErofsManifest,
  type Manifest,
  OCI_MANIFEST,
  parseManifest,
  verityAnnotations,
} from "./index.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}` as const;
const BLOB = "application/octet-stream+zstd";
const META = "application/vnd.erofs+zstd";

interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}
const device: Layer = {
  mediaType: BLOB,
  digest: digest("a"),
  size: 1000,
  annotations: {
    "org.erofs.role": "device",
    "org.erofs.uncompressed-digest": digest("b"),
    "org.erofs.chunk-index.range": "800:1000",
    "org.erofs.chunk-index.digest": digest("c"),
    "org.erofs.something-new": "is no matter",
  },
};
const meta: Layer = {
  mediaType: META,
  digest: digest("d"),
  size: 500,
  annotations: { "org.erofs.uncompressed-digest": digest("e"), "org.erofs.chunk-index.range": "420" },
};

function manifest(layers: readonly Layer[]): Manifest {
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest("0"), size: 2 };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }));
  return parseManifest(bytes) as Manifest;
}

test("devices, the file system over them, and where their chunk indexes are", () => {
  const image = erofsImageLayers(manifest([device, meta]), []);
  assert.ok(isErofsManifest(manifest([device, meta])));
  assert.ok(!isErofsManifest(manifest([device])));
  assert.equal(image.devices.length, 1);
  assert.equal(image.devices[0]!.contentDigest, digest("b"));
  assert.deepEqual(image.devices[0]!.chunkIndex, {
    blob: digest("a"),
    start: 800,
    end: 1000,
    framed: true,
    digest: digest("c"),
  });
  assert.equal(image.meta.compression, "zstd");
  assert.deepEqual(image.meta.chunkIndex, { blob: digest("d"), start: 420, end: 500, framed: true, digest: undefined });
});

test("a plain device with a chunk index as a layer of its own", () => {
  const plain = {
    mediaType: "application/octet-stream",
    digest: digest("1"),
    size: 77,
    annotations: { "org.erofs.role": "device" },
  };
  const index = {
    mediaType: "application/vnd.erofs.chunk-index.v1",
    digest: digest("2"),
    size: 80,
    annotations: { "org.erofs.chunk-index.target": digest("1") },
  };
  const { devices } = erofsImageLayers(manifest([plain, index, meta]), []);
  assert.equal(devices[0]!.contentDigest, digest("1"));
  assert.deepEqual(devices[0]!.chunkIndex, {
    blob: digest("2"),
    start: 0,
    end: 80,
    framed: false,
    digest: digest("2"),
  });
  const wrong = { ...index, annotations: { "org.erofs.chunk-index.target": digest("3") } };
  assert.throws(() => erofsImageLayers(manifest([plain, wrong, meta]), []), /the chunk index behind it is for/);
});

test("diff ids of the config stand in for a missing digest; an index of another kind is none", () => {
  const old = {
    ...device,
    annotations: {
      "org.erofs.role": "device",
      "org.erofs.chunk-index.range": "1",
      "org.erofs.chunk-index.mediaType": "x/y",
    },
  };
  const { devices } = erofsImageLayers(manifest([old, meta]), [digest("7"), digest("8")]);
  assert.equal(devices[0]!.contentDigest, digest("7"));
  assert.equal(devices[0]!.chunkIndex, undefined);
});

const withAnnotation = (name: string, value: string) => ({
  ...device,
  annotations: { ...device.annotations, [name]: value },
});
const lower = { ...meta, annotations: { ...meta.annotations, "org.erofs.role": "overlay-lower" } };

test("file systems over each other, each with the devices before it", () => {
  const stack = erofsStackLayers(manifest([device, lower, lower, device, device, meta]), []);
  assert.deepEqual(
    stack.map(({ meta, devices }) => [meta.descriptor.annotations.get("org.erofs.role"), devices.length]),
    [
      ["overlay-lower", 1],
      ["overlay-lower", 0],
      [undefined, 2],
    ],
  );
  assert.deepEqual(erofsStackLayers(manifest([device, meta]), []), [erofsImageLayers(manifest([device, meta]), [])]);
});

for (const [name, layers, code] of [
  ["no file system", [device], "ERR_BAD_VALUE"],
  ["no layers", [], "ERR_BAD_VALUE"],
  ["two file systems", [meta, meta], "ERR_UNSUPPORTED"],
  ["an overlay", [lower, meta], "ERR_UNSUPPORTED"],
  ["data of an overlay", [withAnnotation("org.erofs.role", "overlay-data"), meta], "ERR_UNSUPPORTED"],
  ["a lower that is no EROFS", [withAnnotation("org.erofs.role", "overlay-lower"), meta], "ERR_BAD_VALUE"],
  ["a device last", [device, meta, device], "ERR_BAD_VALUE"],
  [
    "a tar as the last layer",
    [device, { ...meta, mediaType: "application/vnd.oci.image.layer.v1.tar+zstd" }],
    "ERR_BAD_VALUE",
  ],
  ["a chunk index first", [{ ...meta, mediaType: "application/vnd.erofs.chunk-index.v1" }, meta], "ERR_BAD_VALUE"],
  ["an index behind the end", [withAnnotation("org.erofs.chunk-index.range", "800:1001"), meta], "ERR_BAD_VALUE"],
  ["an index of nothing", [withAnnotation("org.erofs.chunk-index.range", "800:800"), meta], "ERR_BAD_VALUE"],
  ["a range of words", [withAnnotation("org.erofs.chunk-index.range", "from here"), meta], "ERR_BAD_VALUE"],
  ["a digest of words", [withAnnotation("org.erofs.uncompressed-digest", "sha256:x"), meta], "ERR_BAD_VALUE"],
  ["no digest at all", [{ ...device, annotations: { "org.erofs.role": "device" } }, meta], "ERR_BAD_VALUE"],
] as const)
  test(`${name} is refused`, () => {
    assert.throws(
      () => erofsImageLayers(manifest(layers), []),
      (error) => error instanceof DocumentError && error.code === code,
    );
  });

const tree = {
  "org.erofs.dmverity.hash_offset": "8192",
  "org.erofs.dmverity.root_digest": digest("f"),
  "org.erofs.dmverity.block_size": "4096",
};
const withTree = (changes: Readonly<Record<string, string | undefined>>) => {
  const annotations = Object.entries({ ...meta.annotations, ...tree, ...changes }).filter(([, value]) => value);
  return manifest([device, { ...meta, annotations: Object.fromEntries(annotations) as Record<string, string> }]);
};

test("hash trees, and what of them is not for us", () => {
  const known = { dataBlocks: 2, rootHex: "f".repeat(64) };
  assert.deepEqual(erofsImageLayers(withTree({}), []).meta.verity, known);
  assert.deepEqual(verityAnnotations(known), tree);
  const bare = withTree({ "org.erofs.dmverity.block_size": undefined });
  assert.deepEqual(erofsImageLayers(bare, []).meta.verity, known, "4096 is the default");
  assert.equal(erofsImageLayers(bare, []).devices[0]!.verity, undefined);
  for (const [name, value] of [
    ["org.erofs.dmverity.block_size", "65536"],
    ["org.erofs.dmverity.root_digest", `sha512:${"f".repeat(128)}`],
  ] as const)
    assert.equal(erofsImageLayers(withTree({ [name]: value }), []).meta.verity, undefined);
});

for (const [name, value] of [
  ["hash_offset", "8191"],
  ["hash_offset", "0"],
  ["hash_offset", "-4096"],
  ["hash_offset", "1e9"],
  ["hash_offset", "17592186044416"],
  ["hash_offset", undefined],
  ["root_digest", undefined],
  ["root_digest", "f".repeat(64)],
  ["block_size", "many"],
] as const)
  test(`a hash tree with ${name} ${value} is refused`, () => {
    assert.throws(
      () => erofsImageLayers(withTree({ [`org.erofs.dmverity.${name}`]: value }), []),
      (error: unknown) => error instanceof DocumentError && error.message.includes(`org.erofs.dmverity.${name}`),
    );
  });
