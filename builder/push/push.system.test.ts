import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Store } from "../../blobd/store/index.ts";
import { allocAligned, ZstdChunkDecoder } from "../../blobd/sys/index.ts";
import { decodeChunkIndex, skippablePayload } from "../../formats/chunk-index/index.ts";
import {
  type ErofsLayer,
  erofsImageLayers,
  isErofsManifest,
  type Manifest,
  parseImageConfig,
  parseManifest,
} from "../../formats/oci/index.ts";
import {
  buildTar,
  erofsify,
  getManifest,
  pushImage,
  type Registry,
  run,
  startReferrersProxy,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Pushed images against the draft EROFS image specification, by Debian's docker-registry, skopeo and zstd.

const directory = tempDir();
const at = (name: string) => join(directory, name);
let registry: Registry;

before(async () => {
  registry = await startRegistry();
  const random = randomBytes(3_000_000);
  const bottom = buildTar([
    { name: "random", content: random },
    { name: "text", content: "the same line again\n".repeat(200_000) },
    { name: "empty", content: "" },
  ]);
  const top = buildTar([{ name: "more", content: randomBytes(100_000) }]);
  await writeOciLayout(at("layout"), "v1", [bottom, top], { Cmd: ["/bin/true"], Env: ["A=b"] });
});
after(() => registry.stop());

interface Pushed {
  readonly reference: string;
  readonly manifestDigest: string;
  readonly contentBytes: number;
  readonly storedBytes: number;
}

async function push(store: string, to: string, ...options: string[]): Promise<{ result: Pushed; stderr: string }> {
  const args = ["push", "--json", "--store", at(store), `oci:${at("layout")}:v1`, "--to", `${registry.host}/${to}`];
  const { status, stdout, stderr } = await erofsify([...args, ...options]);
  assert.equal(status, 0, stderr);
  return { result: JSON.parse(stdout) as Pushed, stderr };
}

async function get(path: string): Promise<Buffer> {
  const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
  const response = await fetch(`http://${registry.host}/v2/${path}`, { headers });
  assert.equal(response.status, 200, path);
  return Buffer.from(await response.arrayBuffer());
}

const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

async function pulled(name: string, tag: string) {
  const bytes = await get(`${name}/manifests/${tag}`);
  const manifest = parseManifest(bytes) as Manifest;
  const config = parseImageConfig(await get(`${name}/blobs/${manifest.config.digest}`));
  return { digest: sha256(bytes), manifest, config, layers: erofsImageLayers(manifest, config.diffIds) };
}

/** The content of a layer, chunk by chunk as a lazy reader gets it, each checked by its checksum. */
async function readChunks(name: string, layer: ErofsLayer): Promise<{ content: Buffer; chunks: number }> {
  const location = layer.chunkIndex!;
  const blob = await get(`${name}/blobs/${layer.descriptor.digest}`);
  const holder = location.blob === layer.descriptor.digest ? blob : await get(`${name}/blobs/${location.blob}`);
  const section = holder.subarray(location.start, location.end);
  const payload = location.framed ? skippablePayload(section) : section;
  assert.equal(sha256(payload), location.digest);
  const index = decodeChunkIndex(payload, location.framed ? location.start : blob.length);
  const decoder = new ZstdChunkDecoder();
  const content = Buffer.alloc(index.size);
  for (let chunk = 0; chunk < index.count; chunk++) {
    const stored = blob.subarray(index.storedOffset(chunk), index.storedOffset(chunk) + index.storedBytes(chunk));
    assert.deepEqual(createHash("sha256").update(stored).digest(), Buffer.from(index.checksum(chunk)));
    const to = content.subarray(index.offset(chunk), index.offset(chunk) + index.bytes(chunk));
    if (index.compression === "none") stored.copy(to);
    else {
      const source = allocAligned(stored.length);
      stored.copy(source.bytes);
      const target = allocAligned(to.length);
      assert.equal(await decoder.decode(source.address, stored.length, target.address, to.length), to.length);
      target.bytes.copy(to);
    }
  }
  decoder.free();
  return { content, chunks: index.count };
}

test("a pushed image is what the specification says, and its chunks are the store's blobs", async () => {
  const { result } = await push("store", "test/app:erofs");
  const { digest, manifest, config, layers } = await pulled("test/app", "erofs");
  assert.equal(result.manifestDigest, digest);
  assert.ok(isErofsManifest(manifest));
  assert.deepEqual(
    manifest.layers.map(({ mediaType }) => mediaType),
    ["application/octet-stream+zstd", "application/octet-stream+zstd", "application/vnd.erofs+zstd"],
  );
  assert.deepEqual(config.platform.osFeatures, ["erofs"]);
  assert.deepEqual(config.config.cmd, ["/bin/true"]);
  const all = [...layers.devices, layers.meta];
  assert.deepEqual(
    config.diffIds,
    all.map(({ contentDigest }) => contentDigest),
  );
  const store = await Store.open(at("store"));
  for (const layer of all) {
    const { content, chunks } = await readChunks("test/app", layer);
    assert.equal(sha256(content), layer.contentDigest);
    assert.ok(content.equals(store.readBlob(layer.contentDigest.slice(7))));
    assert.equal(chunks, content.length / (512 << 10));
    assert.equal(layer.chunkIndex!.start % 4, 0);
    // A plain decoder reads it too, and passes over the index.
    const blob = await get(`test/app/blobs/${layer.descriptor.digest}`);
    const zstd = await run("sh", ["-c", "zstd -d -c | sha256sum"], { input: blob });
    assert.equal(`sha256:${zstd.stdout.slice(0, 64)}`, layer.contentDigest);
  }
  store.close();
  const inspected = await run("skopeo", ["inspect", "--tls-verify=false", `docker://${registry.host}/test/app:erofs`]);
  assert.equal(JSON.parse(inspected.stdout).Digest, digest);
});

test("the same bytes come from another store, with another number of workers, and go to another repository", async () => {
  await push("store", "test/app:erofs");
  const again = await push("store-2", "test/app-2:erofs");
  assert.equal(again.result.manifestDigest, (await pulled("test/app", "erofs")).digest);
});

test("what the registry has is not sent again: found in the repository, mounted from another one", async () => {
  await push("store", "test/app:erofs");
  const found = await push("store", "test/app:second");
  assert.equal(found.stderr.match(/already there/g)?.length, 3, found.stderr);
  const mounted = await push("store", "test/app-3:erofs");
  assert.equal(mounted.stderr.match(/mounted from another repository/g)?.length, 3, mounted.stderr);
  assert.equal((await pulled("test/app-3", "erofs")).digest, found.result.manifestDigest);
});

test("other chunks and levels make other bytes of the same content", async () => {
  await push("store", "test/app:small", "--chunk-size", "64KiB", "--level", "9");
  const { layers } = await pulled("test/app", "small");
  const { content, chunks } = await readChunks("test/app", layers.devices[0]!);
  assert.equal(sha256(content), layers.devices[0]!.contentDigest);
  assert.equal(chunks, content.length / (64 << 10));
});

test("without compression blobs keep their names, and the index is a layer of its own", async () => {
  await push("store", "test/plain:erofs", "--compression", "none");
  const { manifest, config, layers } = await pulled("test/plain", "erofs");
  assert.deepEqual(
    manifest.layers.map(({ mediaType }) => mediaType),
    [
      "application/octet-stream",
      "application/vnd.erofs.chunk-index.v1",
      "application/octet-stream",
      "application/vnd.erofs.chunk-index.v1",
      "application/vnd.erofs",
    ],
  );
  assert.deepEqual(
    config.diffIds,
    manifest.layers.map(({ digest }) => digest),
  );
  for (const layer of layers.devices) {
    assert.equal(layer.contentDigest, layer.descriptor.digest);
    assert.equal(sha256((await readChunks("test/plain", layer)).content), layer.contentDigest);
  }
});

test("wrong usage is told before any work", async () => {
  const source = `oci:${at("layout")}:v1`;
  for (const [args, message] of [
    [[source], /tells no repository and tag to push to: name one with --to/],
    [[source, "--to", "A B"], /--to: /],
    [[source, "--to", `${registry.host}/x@sha256:${"0".repeat(64)}`], /a digest cannot be chosen/],
    [[source, "--to", `${registry.host}/x:y`, "--compression", "gzip"], /expected zstd or none/],
    [[source, "--to", `${registry.host}/x:y`, "--level", "99"], /expected 1 to 22/],
    [[source, "--to", `${registry.host}/x:y`, "--chunk-size", "100k"], /expected 64KiB to 16MiB/],
  ] as const) {
    const { status, stderr } = await erofsify(["push", "--store", at("never"), ...args]);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  }
});

test("a registry that is not there is told in a line, and ends with 3", async () => {
  const args = [
    "push",
    "--quiet",
    "--store",
    at("store"),
    `oci:${at("layout")}:v1`,
    "--to",
    "no-such-host.invalid/a:b",
  ];
  const { status, stderr } = await erofsify(args);
  assert.equal(status, 3);
  assert.match(stderr, /^erofsify: .*no-such-host\.invalid.*\n$/);
});

test("--verity: layers end with hash trees that veritysetup accepts, by what the annotations say", async () => {
  const { result } = await push("store-verity", "test/verity:erofs", "--verity");
  const { digest, layers } = await pulled("test/verity", "erofs");
  assert.equal(result.manifestDigest, digest);
  for (const layer of [...layers.devices, layers.meta]) {
    const { verity } = layer;
    assert.ok(verity !== undefined);
    const { content } = await readChunks("test/verity", layer);
    assert.equal(sha256(content), layer.contentDigest);
    const path = at("content");
    writeFileSync(path, content);
    await run("veritysetup", ["verify", path, path, verity.rootHex, `--hash-offset=${verity.dataBlocks * 4096}`]);
  }
  const inspected = await erofsify(["inspect", "--json", "--store", at("store-verity"), `oci:${at("layout")}:v1`]);
  const roots = (JSON.parse(inspected.stdout).verity as { rootHex: string }[]).map(({ rootHex }) => rootHex);
  assert.deepEqual(
    roots,
    [layers.meta, ...layers.devices].map(({ verity }) => verity!.rootHex),
  );
  // An image of the store without trees is converted again, and the other one stays.
  const again = await push("store", "test/verity:other", "--verity");
  assert.equal(again.result.manifestDigest, digest);
});

test("a registry that takes no name, or nothing: told in its words, and nothing is named", async () => {
  const tagOf = async (image: string, tag: string) => (await getManifest(registry.host, image, tag))?.digest;
  for (const [i, [form, refused]] of REFUSALS.entries()) {
    const image = `test/refused-${i}`;
    await pushImage(at("layout"), "v1", `${registry.host}/${image}:1`);
    const source = await tagOf(image, "1");
    const proxy = await startReferrersProxy(registry.host, (method, path) =>
      refused.test(`${method} ${path}`) ? [403, "exceeds the configured upper limit of 10.0 MiB"] : undefined,
    );
    try {
      const args = ["push", "--quiet", "--store", at("refused"), `${proxy.host}/${image}:1`, "--as", form];
      const { status, stderr } = await erofsify(args);
      assert.equal(status, 3, `${form} ${refused} ${stderr}`);
      assert.match(stderr, /answered 403 \(DENIED: exceeds the configured upper limit of 10\.0 MiB\)/);
    } finally {
      proxy.stop();
    }
    assert.equal(await tagOf(image, "1"), source);
    for (const tag of ["1-erofs", source!.replace(":", "-")]) assert.equal(await tagOf(image, tag), undefined);
  }
});

const REFUSALS: readonly (readonly [form: string, refused: RegExp])[] = [
  ["index", /^PUT .*\/manifests\/1$/],
  ["index", /^PUT .*\/manifests\/sha256:/],
  ["referrer", /^PUT .*\/manifests\//],
  ["referrer", /^(POST|PATCH) /],
  ["tag", /^PUT .*\/manifests\//],
];
