import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  buildTar,
  compareTrees,
  describeTree,
  erofsify,
  getManifest,
  mountImage,
  pushImage,
  putImage,
  type Registry,
  run,
  startRegistry,
  type TarEntry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Images of several file systems, which an overlay puts over each other: pushed, mounted so by the kernel, fetched and merged.

const directory = tempDir();
const at = (name: string) => join(directory, name);
let registry: Registry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry.stop());

const app = (tag: string) => `${registry.host}/test/stack:${tag}`;

interface Layer {
  readonly annotations: Readonly<Record<string, string>>;
}

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  return stdout;
}

interface Converted {
  readonly converted?: { readonly how: string };
  readonly meta: { readonly digestHex: string };
  readonly blobs: readonly { readonly digestHex: string }[];
}

const convert = async (store: string, tag: string, ...options: string[]): Promise<Converted> =>
  JSON.parse(await ok("convert", "--json", "--quiet", "--verity", "--store", at(store), app(tag), ...options));

/** Layers that take away, hide, imply and change. */
const STACK: readonly (readonly TarEntry[])[] = [
  [
    { name: "data/", type: "5", mode: 0o750, uid: 12, gid: 34, mtime: "1400000000" },
    { name: "data/kept", content: randomBytes(3_000_000), mtime: "1400000001" },
    { name: "data/removed", content: "x" },
    { name: "data/.wh.nothing" },
    { name: "hidden/", type: "5", mtime: "1400000002" },
    { name: "hidden/below", content: "x" },
  ],
  [
    { name: "data/.wh.removed" },
    { name: "data/added", content: "added\n".repeat(100_000), mtime: "1500000000" },
    { name: "hidden/", type: "5", mode: 0o755, mtime: "1500000002" },
    { name: "hidden/.wh..wh..opq" },
    { name: "hidden/above", content: "y", mtime: "1500000003" },
  ],
  [{ name: "only/", type: "5", mtime: "1500000004" }],
];

test("a file system for each layer: an overlay of them is the image, and fetched they are merged into what a conversion makes", async (t) => {
  const tars = STACK.map((entries) => buildTar([...entries]));
  await writeOciLayout(at("layout"), "v1", tars, {});
  await pushImage(at("layout"), "v1", app("1"));
  await ok("push", "--quiet", "--store", at("store"), app("1"), "--format", "erofs-layers", "--verity");
  const layers: Layer[] = (await getManifest(registry.host, "test/stack", "1-erofs-layers"))!.manifest.layers;
  const roles = layers.map(({ annotations }) => annotations["org.erofs.role"]);
  assert.deepEqual(roles, ["device", "overlay-lower", "device", "overlay-lower", undefined]);
  const inspect = ["inspect", "--tls-verify=false", "--config", `docker://${app("1-erofs-layers")}`];
  assert.deepEqual(JSON.parse((await run("skopeo", inspect)).stdout)["os.features"], ["erofs"]);
  const made = await convert("store", "1", "--from-source");
  const pulled = await convert("puller", "1-erofs-layers");
  assert.deepEqual([pulled.converted?.how, pulled.meta, pulled.blobs], ["itself", made.meta, made.blobs]);
  const blobPath = ({ annotations }: Layer) =>
    at(`puller/blobs/sha256/${annotations["org.erofs.uncompressed-digest"]!.slice(7)}`);
  const mounts = [
    mountImage(t, { metaPath: blobPath(layers[1]!), devicePaths: [blobPath(layers[0]!)] }),
    mountImage(t, { metaPath: blobPath(layers[3]!), devicePaths: [blobPath(layers[2]!)] }),
    mountImage(t, { metaPath: blobPath(layers[4]!), devicePaths: [] }),
  ];
  const overlay = tempDir(t);
  await run("mount", ["-t", "overlay", "-o", `ro,lowerdir=${mounts.reverse().join(":")}`, "overlay", overlay]);
  try {
    const merged = mountImage(t, {
      metaPath: at(`store/blobs/sha256/${made.meta.digestHex}`),
      devicePaths: made.blobs.map(({ digestHex }) => at(`store/blobs/sha256/${digestHex}`)),
    });
    const [expected, found] = [await describeTree(merged), await describeTree(overlay)];
    assert.deepEqual(compareTrees(expected, found), []);
  } finally {
    await run("umount", [overlay]);
  }
  // Who reads it as it comes needs one file system.
  const lazy = await erofsify(["run", "--lazy", "--store", at("lazy"), app("1-erofs-layers")]);
  assert.match(lazy.stderr, /found 3 file systems for an overlay.*without --lazy, they are merged/);
  const refused = await erofsify(["push", app("1"), "--format", "erofs-layers", "--as", "index"]);
  assert.match(refused.stderr, /goes under a tag of its own/);
});

/** Pushes mkfs.erofs's file systems, as they are, as an image. @param folders lowest first */
async function putForeign(tag: string, folders: readonly string[]): Promise<void> {
  const images: Buffer[] = [];
  for (const folder of folders) {
    await run("mkfs.erofs", ["--quiet", "--all-root", "-T0", `${folder}.erofs`, folder]);
    // Ours are whole units, others' have to be made so.
    truncateSync(`${folder}.erofs`, Math.ceil(statSync(`${folder}.erofs`).size / UNIT) * UNIT);
    images.push(readFileSync(`${folder}.erofs`));
  }
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
    size: bytes.length,
  });
  const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", "os.features": ["erofs"] }));
  const layers = images.map((image, i) => ({
    ...describe("application/vnd.erofs", image),
    annotations: i < images.length - 1 ? { "org.erofs.role": "overlay-lower" } : {},
  }));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const described = describe("application/vnd.oci.image.config.v1+json", config);
  const manifest = { schemaVersion: 2, mediaType, config: described, layers };
  await putImage(registry.host, "test/stack", tag, { manifest, blobs: [config, ...images] });
}

const UNIT = 2 << 20;
const PAGES = 600 * 4096;

test("somebody else's file systems, with their data inside: their files become devices of one", async (t) => {
  const large = [randomBytes(PAGES), randomBytes(PAGES)] as const;
  for (const [name, content] of Object.entries({
    "low/large": large[0],
    "low/small": "small\n",
    "low/gone": "gone\n",
    "high/other": large[1],
    "odd/tail": randomBytes(PAGES + 1),
  })) {
    mkdirSync(join(at(name), ".."), { recursive: true });
    writeFileSync(at(name), content);
  }
  await run("mknod", [at("high/gone"), "c", "0", "0"]);
  await putForeign("foreign", [at("low"), at("high")]);
  const args = ["convert", "--json", "--quiet", "--store", at("foreign"), app("foreign"), "--platform", "linux/amd64"];
  const { meta, blobs } = JSON.parse(await ok(...args)) as Converted;
  assert.equal(blobs.length, 2);
  const path = ({ digestHex }: { digestHex: string }) => at(`foreign/blobs/sha256/${digestHex}`);
  const merged = mountImage(t, { metaPath: path(meta), devicePaths: blobs.map(path) });
  assert.deepEqual(readdirSync(merged).sort(), ["large", "other", "small"]);
  assert.ok(
    readFileSync(join(merged, "large")).equals(large[0]) && readFileSync(join(merged, "other")).equals(large[1]),
  );
  assert.equal(readFileSync(join(merged, "small"), "utf8"), "small\n");
  // A file's end beside its inode cannot be had from a device.
  await putForeign("tails", [at("odd"), at("high")]);
  const refused = await erofsify(["convert", "--store", at("odd-store"), app("tails"), "--platform", "linux/amd64"]);
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(refused.stderr, /test\/stack:tails cannot be merged: \/tail/);
});
