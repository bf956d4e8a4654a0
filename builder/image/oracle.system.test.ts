import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, before, test } from "node:test";
import {
  compareTrees,
  describeImage,
  describeTree,
  EDGE_TAG,
  EDGE_UNPACK_TIMES,
  type Exception,
  erofsify,
  fsckErofs,
  mountImage,
  pushImage,
  type Registry,
  run,
  startRegistry,
  type TreeDescription,
  tempDir,
  unpackWithUmoci,
  writeEdgeImage,
} from "../testkit/index.ts";

// The edge image by every way in and every way out, against umoci's unpack of the same layers, path by path.

/** What of `convert --json` is looked at. */
interface Converted {
  readonly meta: { readonly digestHex: string };
  readonly blobs: readonly { readonly digestHex: string }[];
  readonly layerDetails: readonly {
    readonly cached: boolean;
    readonly meta: { readonly digestHex: string };
    readonly blob?: { readonly digestHex: string };
  }[];
}

const directory = tempDir();
const at = (name: string) => join(directory, name);
const stored = ({ digestHex }: { readonly digestHex: string }) => join(at("store"), "blobs/sha256", digestHex);
let registry: Registry | undefined;
let reference: string;
let expected: TreeDescription;
let converted: Converted;
let exported: { metaPath: string; devicePaths: string[] };

before(async () => {
  await writeEdgeImage(at("layout"));
  registry = await startRegistry();
  reference = `${registry.host}/test/edge`;
  await Promise.all([
    pushImage(at("layout"), EDGE_TAG, `${reference}:oci`),
    unpackWithUmoci(at("layout"), EDGE_TAG, at("umoci")),
  ]);
  expected = describeTree(at("umoci"));
  converted = await convert(`${reference}:oci`, "-o", at("export"), "--single", at("flat.erofs"));
  const devicePaths = converted.blobs.map(({ digestHex }) => join(at("export"), "blobs/sha256", digestHex));
  exported = { metaPath: join(at("export"), "image.erofs"), devicePaths };
});

after(() => registry?.stop());

async function convert(source: string, ...options: string[]): Promise<Converted> {
  return JSON.parse(await succeed("--json", "--quiet", source, ...options)) as Converted;
}

/** Runs erofsify with the store of these tests; its output. */
async function succeed(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await erofsify(args, { env: { EROFSIFY_STORE: at("store") } });
  assert.equal(stderr, "");
  assert.equal(status, 0);
  return stdout;
}

/** No layer tells a time for these, so umoci gives them its own. */
const isUmocisTime: Exception = (path, fact) => fact === "mtime" && EDGE_UNPACK_TIMES.has(path);

function assertSame(found: TreeDescription, except: Exception = isUmocisTime): void {
  assert.ok(found.size > 400);
  assert.deepEqual(compareTrees(expected, found, except), []);
}

test("what erofsify mount shows is what umoci unpacks", async () => {
  const output = await succeed("mount", `${reference}:oci`, at("mounted"));
  try {
    assert.match(output, /read-only, from (files|loop devices) \(metadata and 3 blobs\)/);
    assertSame(describeTree(at("mounted")));
  } finally {
    await succeed("umount", at("mounted"));
  }
  assert.deepEqual(readdirSync(at("mounted")), []);
});

for (const backing of ["file", "loop"] as const) {
  test(`the kernel reads the export folder the same, from ${backing}s`, (t) =>
    assertSame(describeTree(mountImage(t, { ...exported, backing }))));

  test(`the kernel reads the flat image the same, from a ${backing}`, (t) =>
    assertSame(describeTree(mountImage(t, { metaPath: at("flat.erofs"), devicePaths: [], backing }))));
}

test("metadata and blobs one after the other are one flat device", async (t) => {
  const metaPath = at("joined.erofs");
  for (const [i, file] of [exported.metaPath, ...exported.devicePaths].entries())
    await pipeline(createReadStream(file), createWriteStream(metaPath, { flags: i === 0 ? "w" : "a" }));
  assertSame(describeTree(mountImage(t, { metaPath, devicePaths: [] })));
});

test("our reader says the same as the kernel", () => {
  assertSame(describeImage(exported.metaPath, exported.devicePaths));
  assertSame(describeImage(at("flat.erofs")));
});

test("both fsck.erofs accept image and layers, and extract the flat image as it is", async () => {
  const checks = [
    fsckErofs(exported.metaPath, exported.devicePaths),
    fsckErofs(at("flat.erofs"), [], at("extracted")),
    ...converted.layerDetails.map(({ meta, blob }) => fsckErofs(stored(meta), blob ? [stored(blob)] : [])),
  ];
  await Promise.all(checks);
  // It gives files their owner after their attributes, and then Linux takes capabilities away.
  const isLost: Exception = (...fact) => fact[1] === "xattr.security.capability" || isUmocisTime(...fact);
  assertSame(describeTree(at("extracted")), isLost);
});

test("erofsify check finds nothing in image, layers, export and flat image", async () => {
  const layers = converted.layerDetails.map(({ meta }) => stored(meta));
  for (const target of [`${reference}:oci`, at("export"), at("flat.erofs"), ...layers])
    assert.match(await succeed("check", target), /: good \(\d+ inodes.*\)\n$/);
});

test("the same layers from another source are the same bytes", async (t) => {
  const layout = `oci:${at("layout")}:${EDGE_TAG}`;
  const copy = (to: string, ...options: string[]) =>
    run("skopeo", ["--insecure-policy", "copy", "--quiet", ...options, layout, to]);
  await Promise.all([
    copy(`oci-archive:${at("oci.tar")}:edge`),
    copy(`docker-archive:${at("docker.tar")}:edge:1`),
    pushImage(at("layout"), EDGE_TAG, `${reference}:v2s2`, "v2s2"),
  ]);
  await run("gzip", ["--keep", "--fast", at("docker.tar")]);
  const sources = [
    layout,
    `${reference}:v2s2`,
    `oci-archive:${at("oci.tar")}`,
    `docker-archive:${at("docker.tar")}`,
    `docker-archive:${at("docker.tar.gz")}:edge:1`,
  ];
  for (const source of sources)
    await t.test(source.replaceAll(directory, "").replace(/^127[^/]*/, ""), async () => {
      const { meta, blobs, layerDetails } = await convert(source);
      assert.deepEqual({ meta, blobs }, { meta: converted.meta, blobs: converted.blobs });
      // Only plain layers, of the archives that docker saves, have another digest than those of the registry.
      assert.ok(layerDetails.every(({ cached }) => cached || source.startsWith("docker-archive")));
    });
});

test("a tree as a directory, as a tar and as a compressed tar is what it is", async () => {
  const archive = ["--create", "--directory", at("umoci"), "--format=posix", "--xattrs", "--xattrs-include=*", "."];
  await run("tar", ["--file", at("tree.tar"), ...archive]);
  await Promise.all([run("gzip", ["--keep", "--fast", at("tree.tar")]), run("zstd", ["-q", "-1", at("tree.tar")])]);
  for (const source of ["dir:umoci", "tar:tree.tar", "tar:tree.tar.gz", "tar:tree.tar.zst"]) {
    const { meta, blobs } = await convert(source.replace(":", `:${directory}/`));
    assertSame(describeImage(stored(meta), blobs.map(stored)), () => false);
  }
});

test("a blob's name is the sha256 of its bytes, its size a multiple of 2 MiB", async () => {
  for (const file of converted.blobs) {
    const hash = createHash("sha256");
    let size = 0;
    for await (const chunk of createReadStream(stored(file))) {
      hash.update(chunk as Buffer);
      size += (chunk as Buffer).length;
    }
    assert.equal(hash.digest("hex"), file.digestHex);
    assert.equal(size % 2097152, 0);
  }
});
