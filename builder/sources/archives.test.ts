import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { sha256 } from "../../blobd/registry/index.ts";
import { digestHex } from "../../formats/oci/index.ts";
import { parseSource, type SourceSpec } from "../names/index.ts";
import { buildTar, type TarEntry, tempDir, writeOciLayout } from "../testkit/index.ts";
import { openLayer, releaseImage, resolveImage } from "./index.ts";
import type { ReadOptions } from "./options.ts";

const dir = tempDir();
const path = (name: string) => join(dir, name);
const LAYERS = ["one", "two"].map((name) => buildTar([{ name, content: name.repeat(1000) }]));
const CONFIG = Buffer.from(
  JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["x"] },
    rootfs: { type: "layers", diff_ids: LAYERS.map(sha256) },
  }),
);
const amd64 = { platform: { os: "linux", architecture: "amd64" } } as const;
const source = (text: string): SourceSpec => parseSource(text, amd64);

async function readLayers(spec: SourceSpec, options: ReadOptions = {}): Promise<Buffer[]> {
  const image = await resolveImage(spec, options);
  const { access } = structuredClone(image);
  const layers: Buffer[] = [];
  for (const layer of image.layers) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of openLayer({ spec, access }, layer, options)) chunks.push(chunk);
    layers.push(Buffer.concat(chunks));
  }
  releaseImage(image);
  return layers;
}

/** A docker-archive with these layer members; `files` go in before manifest.json. */
function dockerArchive(
  name: string,
  layerPaths: readonly string[],
  files: readonly TarEntry[],
  tags = ["app:1"],
): string {
  const Config = `${digestHex(sha256(CONFIG))}.json`;
  const manifest = [{ Config, RepoTags: tags, Layers: layerPaths }];
  const entries = [
    ...files,
    { name: Config, content: CONFIG },
    { name: "manifest.json", content: JSON.stringify(manifest) },
  ];
  writeFileSync(path(name), buildTar(entries));
  return `docker-archive:${path(name)}`;
}

const hexTar = (bytes: Buffer): TarEntry => ({ name: `${digestHex(sha256(bytes))}.tar`, content: bytes });

test("docker-archive: layers as skopeo names them", async () => {
  const files = LAYERS.map(hexTar);
  const spec = source(
    dockerArchive(
      "skopeo.tar",
      files.map((f) => f.name),
      files,
    ),
  );
  assert.deepEqual(await readLayers(spec), LAYERS);
  const image = await resolveImage(spec);
  assert.deepEqual(
    image.layers.map((l) => l.digest),
    LAYERS.map(sha256),
  );
  assert.deepEqual(image.config.config.cmd, ["x"]);
  assert.equal(image.manifestDigest, null);
});

test("docker-archive: old docker save, with a link in place of an equal layer", async () => {
  const files: TarEntry[] = [
    { name: "a/", type: "5" },
    { name: "a/layer.tar", content: LAYERS[0]! },
    { name: "b/layer.tar", type: "2", link: "../c/layer.tar" },
    { name: "c/layer.tar", type: "1", link: "d/layer.tar" },
    { name: "./d/layer.tar", content: LAYERS[1]! },
  ];
  assert.deepEqual(await readLayers(source(dockerArchive("old.tar", ["a/layer.tar", "b/layer.tar"], files))), LAYERS);
});

test("docker-archive: links in a circle and out of the archive lead nowhere", async () => {
  for (const link of ["layer.tar", "/etc/passwd", "../../../../etc/passwd"]) {
    const files: TarEntry[] = [{ name: "layer.tar", type: "2", link }];
    const spec = source(dockerArchive("circle.tar", ["layer.tar", "layer.tar"], files));
    await assert.rejects(resolveImage(spec), {
      code: "ERR_NOT_FOUND",
      message: /layer layer\.tar is not in the archive/,
    });
  }
});

test("docker-archive: compressed layers, by the digest in their name or by their own", async () => {
  const stored = LAYERS.map((tar) => gzipSync(tar));
  const named = stored.map((bytes) => ({ name: `blobs/sha256/${digestHex(sha256(bytes))}`, content: bytes }));
  const unnamed = stored.map((bytes, i) => ({ name: `${i}/layer.tar`, content: bytes }));
  for (const files of [named, unnamed]) {
    const spec = source(
      dockerArchive(
        "gz-layers.tar",
        files.map((f) => f.name),
        files,
      ),
    );
    assert.deepEqual(await readLayers(spec), stored);
    const { layers } = await resolveImage(spec);
    assert.deepEqual(
      layers.map((l) => [l.digest, l.compression, l.diffId]),
      stored.map((bytes, i) => [sha256(bytes), "gzip", sha256(LAYERS[i]!)]),
    );
  }
});

test("docker-archive: one of several images is chosen by its name", async () => {
  const files = LAYERS.map(hexTar);
  const Config = `${digestHex(sha256(CONFIG))}.json`;
  const image = (tags: string[]) => ({ Config, RepoTags: tags, Layers: files.map((f) => f.name) });
  const manifest = JSON.stringify([image(["quay.io/x/y:1"]), image(["app:1", "app:2"])]);
  writeFileSync(
    path("two.tar"),
    buildTar([...files, { name: Config, content: CONFIG }, { name: "manifest.json", content: manifest }]),
  );
  const text = `docker-archive:${path("two.tar")}`;
  assert.deepEqual(await readLayers(source(`${text}:app:2`)), LAYERS);
  assert.deepEqual(await readLayers(source(`${text}:quay.io/x/y:1`)), LAYERS);
  await assert.rejects(resolveImage(source(text)), {
    code: "ERR_BAD_SOURCE",
    message: /2 images.*quay\.io\/x\/y:1, app:1, app:2/,
  });
  await assert.rejects(resolveImage(source(`${text}:app:3`)), {
    code: "ERR_NOT_FOUND",
    message: /its images are quay/,
  });
});

test("docker-archive: a layer or config that was exchanged is found out", async () => {
  const files = [{ ...hexTar(LAYERS[0]!), content: LAYERS[1]! }, hexTar(LAYERS[1]!)];
  await assert.rejects(
    readLayers(
      source(
        dockerArchive(
          "bad.tar",
          files.map((f) => f.name),
          files,
        ),
      ),
    ),
    { code: "ERR_DIGEST" },
  );
  const wrong = [{ name: `${"0".repeat(64)}.json`, content: CONFIG }, ...files];
  const manifest = JSON.stringify([{ Config: wrong[0]!.name, Layers: files.map((f) => f.name) }]);
  writeFileSync(path("bad-config.tar"), buildTar([...wrong, { name: "manifest.json", content: manifest }]));
  await assert.rejects(resolveImage(source(`docker-archive:${path("bad-config.tar")}`)), {
    code: "ERR_DIGEST",
    message: /config 0{64}\.json.*expected sha256:0{64}/,
  });
});

for (const [name, manifest, code, says] of [
  ["no manifest.json", undefined, "ERR_NOT_FOUND", /no member manifest\.json/],
  ["a manifest.json that is no array", "{}", "ERR_BAD_MANIFEST", /manifest\.json: found an object, expected an array/],
  ["an image without layers in manifest.json", '[{"Config":1}]', "ERR_BAD_MANIFEST", /manifest\.json\[0\]\.Config/],
  ["no image", "[]", "ERR_NOT_FOUND", /no such image/],
] as const)
  test(`docker-archive with ${name} is refused`, async () => {
    writeFileSync(
      path("broken.tar"),
      buildTar(manifest === undefined ? [] : [{ name: "manifest.json", content: manifest }]),
    );
    await assert.rejects(resolveImage(source(`docker-archive:${path("broken.tar")}`)), { code, message: says });
  });

test("docker-archive: an archive that ends too early says where", async () => {
  const files = LAYERS.map(hexTar);
  const text = dockerArchive(
    "short.tar",
    files.map((f) => f.name),
    files,
  );
  truncateSync(path("short.tar"), 2000);
  await assert.rejects(resolveImage(source(text)), {
    code: "ERR_BAD_MANIFEST",
    message: /at byte 512: has \d+ bytes, the archive ends after 1488/,
  });
});

test("compressed archives are unpacked into a file that nobody sees", async () => {
  const spool = path("spool");
  mkdirSync(spool);
  const env = { TMPDIR: spool };
  const files = LAYERS.map(hexTar);
  dockerArchive(
    "plain.tar",
    files.map((f) => f.name),
    files,
  );
  const { readFile } = await import("node:fs/promises");
  writeFileSync(path("packed.tar.gz"), gzipSync(await readFile(path("plain.tar"))));
  const spec = source(`docker-archive:${path("packed.tar.gz")}`);
  assert.deepEqual(await readLayers(spec, { env }), LAYERS);
  const image = await resolveImage(spec, { env });
  assert.deepEqual(readdirSync(spool), []);
  releaseImage(image);
  await assert.rejects(resolveImage(spec, { env, maxUnpackedBytes: 5000 }), {
    code: "ERR_LIMIT",
    message: /packed\.tar\.gz: unpacks to more than 5000 bytes/,
  });
  truncateSync(path("packed.tar.gz"), 100);
  await assert.rejects(resolveImage(spec, { env }), { code: "ERR_BAD_MANIFEST", message: /packed\.tar\.gz/ });
  await assert.rejects(resolveImage(spec, { env: { TMPDIR: path("absent") } }), {
    message: /TMPDIR names another place/,
  });
});

const openDescriptors = () => readdirSync("/proc/self/fd").length;

test("no descriptor stays open, whatever goes wrong", async () => {
  const gz = path("leak.tar.gz");
  writeFileSync(gz, gzipSync(buildTar([{ name: "manifest.json", content: "[]" }])));
  const damaged = path("leak-damaged.tar.gz");
  writeFileSync(damaged, gzipSync(buildTar([])).subarray(0, 15));
  const before = openDescriptors();
  for (let i = 0; i < 5; i++) await assert.rejects(resolveImage(source(`docker-archive:${gz}`)));
  for (let i = 0; i < 5; i++) await assert.rejects(resolveImage(source(`docker-archive:${damaged}`)));
  assert.equal(openDescriptors(), before);
});

test("oci: layouts by name, by digest, and damaged", async () => {
  const layout = path("layout");
  await writeOciLayout(layout, "v1", LAYERS);
  const image = await resolveImage(source(`oci:${layout}`));
  const stored = await readLayers(source(`oci:${layout}:v1`));
  assert.deepEqual(
    stored.map((bytes) => gunzipSync(bytes)),
    LAYERS,
  );
  assert.deepEqual(await readLayers(source(`oci:${layout}@${image.manifestDigest}`)), stored);
  await assert.rejects(resolveImage(source(`oci:${layout}:v2`)), {
    code: "ERR_NOT_FOUND",
    message: /its images are v1/,
  });
  await assert.rejects(resolveImage(source(`oci:${dir}`)), { code: "ERR_NOT_FOUND", message: /index\.json/ });

  const layer = image.layers[1]!;
  const blob = join(layout, "blobs/sha256", digestHex(layer.digest!));
  const same = stored[1]!;
  writeFileSync(blob, Buffer.alloc(same.length));
  await assert.rejects(readLayers(source(`oci:${layout}`)), { code: "ERR_DIGEST", message: new RegExp(layer.digest!) });
  appendFileSync(blob, "x");
  await assert.rejects(readLayers(source(`oci:${layout}`)), {
    code: "ERR_LENGTH",
    message: new RegExp(`got ${same.length + 1} bytes, its manifest says ${same.length}`),
  });
  rmSync(blob);
  await assert.rejects(readLayers(source(`oci:${layout}`)), { code: "ERR_NOT_FOUND" });
});

test("oci: two unnamed images cannot be told apart, two platforms of one can", async () => {
  const layout = path("many");
  await writeOciLayout(layout, "x", LAYERS);
  const { readFile } = await import("node:fs/promises");
  const index = JSON.parse(await readFile(join(layout, "index.json"), "utf8"));
  const [entry] = index.manifests;
  const { annotations: _, ...unnamed } = entry;
  const write = (manifests: object[]) =>
    writeFileSync(join(layout, "index.json"), JSON.stringify({ ...index, manifests }));
  write([unnamed, { ...unnamed }]);
  await assert.rejects(resolveImage(source(`oci:${layout}`)), { code: "ERR_BAD_SOURCE", message: /several images/ });
  write([entry, { ...entry, annotations: { "io.containerd.image.name": "docker.io/library/y:1" } }]);
  await assert.rejects(resolveImage(source(`oci:${layout}`)), {
    code: "ERR_BAD_SOURCE",
    message: /x, docker\.io\/library\/y:1/,
  });
  assert.equal((await readLayers(source(`oci:${layout}:docker.io/library/y:1`))).length, 2);
  const on = (architecture: string) => ({ ...unnamed, platform: { os: "linux", architecture } });
  write([on("s390x"), on("amd64")]);
  assert.equal((await readLayers(source(`oci:${layout}`))).length, 2);
});

test("tar: a file is one layer, known by its digest, and must not change", async () => {
  const file = path("one.tar");
  writeFileSync(file, LAYERS[0]!);
  const spec = source(`tar:${file}`);
  const image = await resolveImage(spec);
  assert.deepEqual(image.layers, [
    { digest: sha256(LAYERS[0]!), size: LAYERS[0]!.length, mediaType: "application/x-tar", compression: "detect" },
  ]);
  assert.deepEqual(await readLayers(spec), [LAYERS[0]]);
  utimesSync(file, 1, 1);
  const read = async () => {
    for await (const _ of openLayer(image, image.layers[0]!));
  };
  await assert.rejects(read(), { code: "ERR_IO", message: /changed while it was read \(mtimeNs/ });
  await assert.rejects(resolveImage(source(`tar:${dir}`)), { code: "ERR_BAD_SOURCE", message: /no regular file/ });
  await assert.rejects(resolveImage(source(`tar:${path("none")}`)), {
    code: "ERR_NOT_FOUND",
    message: /none: no such file/,
  });
});
