/** Converter processes as a daemon uses them, with real layers and a real overlay. Needs root. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { ConverterPool, type LayerJob, type LayerResult } from "../../blobd/conversion/index.ts";
import { Store, type StoredFile } from "../../blobd/store/index.ts";
import { mount, mountErofs, setXattr, unmount } from "../../blobd/sys/index.ts";
import {
  buildTar,
  compareTrees,
  describeTree,
  edgeLayers,
  erofsify,
  run,
  tempDir,
  unpackWithTar,
  unpackWithUmoci,
  writeEdgeImage,
} from "../testkit/index.ts";

/** This file is dist/builder/converter/converter.system.test.js when it runs. */
const PROGRAM = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const HOLD = { key: "a".repeat(64), owner: "test" };

const work = tempDir();
const warnings: string[] = [];
let pool: ConverterPool;
let store: string;
let made = 0;
const fresh = (name: string) => join(work, `${made++}-${name}`);

before(() => {
  pool = new ConverterPool({ program: PROGRAM, onWarning: (message) => warnings.push(message) });
});
after(() => pool.close());
beforeEach(() => {
  store = fresh("store");
  warnings.length = 0;
});
afterEach(() => assert.deepEqual(warnings, []));

/** A layer in a file, and the job that converts it. */
function layerFile(tar: Buffer, more: Partial<LayerJob> = {}): { bytes: Buffer; job: LayerJob & { kind: "layer" } } {
  const bytes = gzipSync(tar, { level: 1 });
  const path = fresh("layer");
  writeFileSync(path, bytes);
  const job = { kind: "layer", store, digest: sha256(bytes), size: bytes.length, compression: "gzip", path } as const;
  return { bytes, job: { ...job, known: null, maxBlobBytes: null, hold: HOLD, ...more } };
}

const tars = edgeLayers().map(buildTar);

test("a layer is converted as erofsify does it, its tar is told, and it is held", async () => {
  const { job } = layerFile(tars[0]!);
  const result = await pool.run(job);
  assert.equal(result.cached, false);
  assert.deepEqual(result.tar, { diffId: sha256(tars[0]!), tarBytes: tars[0]!.length });

  const other = fresh("store");
  await erofsify(["--quiet", "--store", other, `tar:${job.path}`]);
  const [opened, reference] = (await Promise.all([store, other].map((root) => Store.open(root)))) as [Store, Store];
  const theirs = await reference.getLayer(result.key);
  reference.close();
  assert.deepEqual([theirs?.meta, theirs?.blob], [result.record.meta, result.record.blob]);
  assert.deepEqual(opened.listHolds(), [{ ...HOLD, layers: [result.key], files: [] }]);
  assert.equal((await opened.prune()).blobs.length, 0);
  opened.close();
});

test("a layer that comes through the daemon is the same; one that is there costs no bytes", async () => {
  const { job, bytes } = layerFile(tars[0]!);
  rmSync(job.path!);
  let given = 0;
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += 1000, given++) yield bytes.subarray(at, at + 1000);
  }
  const result = await pool.run({ ...job, path: null }, { bytes: chunks() });
  assert.deepEqual(result.tar.diffId, sha256(tars[0]!));
  assert.equal(given, Math.ceil(bytes.length / 1000));
  const again = await pool.run({ ...job, known: result.tar });
  assert.deepEqual([again.cached, again.key, again.tar], [true, result.key, result.tar]);
});

test("what the tar is, is found out even when somebody else converted the layer", async () => {
  const { job } = layerFile(tars[1]!);
  await erofsify(["--quiet", "--store", store, `tar:${job.path}`]);
  const result = await pool.run(job);
  assert.deepEqual([result.cached, result.tar.diffId], [true, sha256(tars[1]!)]);
});

test("layers of one digest that come at once are converted once", async () => {
  const { job } = layerFile(tars[0]!);
  const results = await Promise.all([pool.run(job), pool.run(job), pool.run(job)]);
  assert.equal(results.filter(({ cached }) => !cached).length, 1);
});

const broken: [string, string, (layer: ReturnType<typeof layerFile>) => LayerJob & { kind: "layer" }][] = [
  ["other bytes", "ERR_DIGEST", ({ job }) => ({ ...job, digest: `sha256:${"0".repeat(64)}` })],
  ["fewer bytes than told", "ERR_LENGTH", ({ job }) => ({ ...job, size: job.size + 1 })],
  ["more bytes than told", "ERR_LENGTH", ({ job }) => ({ ...job, size: job.size - 1 })],
  ["a file that is not there", "ERR_NOT_FOUND", ({ job }) => ({ ...job, path: `${job.path}-not` })],
  ["more data than it may have", "ERR_STORE_LIMIT", ({ job }) => ({ ...job, maxBlobBytes: 4096 })],
  ["no gzip", "ERR_BAD_VALUE", () => rewritten(Buffer.from("no gzip at all"))],
  ["no tar", "ERR_BAD_VALUE", () => rewritten(gzipSync(Buffer.alloc(4096, "no tar")))],
];
function rewritten(bytes: Buffer): LayerJob & { kind: "layer" } {
  const { job } = layerFile(Buffer.alloc(0));
  writeFileSync(job.path!, bytes);
  return { ...job, digest: sha256(bytes), size: bytes.length };
}
for (const [what, code, change] of broken)
  test(`a layer with ${what} is refused and leaves nothing; the converter goes on`, async () => {
    const layer = layerFile(tars[0]!);
    const [pid] = pool.pids;
    await assert.rejects(pool.run(change(layer)), { name: "ConversionError", code });
    const opened = await Store.open(store);
    assert.deepEqual([opened.listBlobs(), opened.listHolds()], [[], []]);
    opened.close();
    assert.equal((await pool.run(layer.job)).cached, false);
    assert.deepEqual(pool.pids, [pid]);
  });

test("a converter that is killed fails its jobs, and the next job gets a new one", async () => {
  const { job } = layerFile(tars[0]!);
  async function* never(): AsyncGenerator<Uint8Array> {
    yield Buffer.from([0x1f]);
    await new Promise(() => {});
  }
  const hanging = pool.run({ ...job, path: null }, { bytes: never() });
  const failed = assert.rejects(hanging, { code: "ERR_CONVERTER", message: /SIGKILL.*layer job/ });
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (const pid of pool.pids) process.kill(pid, "SIGKILL");
  await failed;
  assert.equal((await pool.run(job)).cached, false);
});

test("a job that is called off ends and leaves nothing", async () => {
  const { job } = layerFile(tars[0]!);
  const abort = new AbortController();
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield Buffer.from([0x1f]);
    await new Promise(() => {});
  }
  const called = pool.run({ ...job, path: null }, { bytes: slow(), signal: abort.signal });
  setTimeout(() => abort.abort(), 100);
  await assert.rejects(called, { code: "ERR_ABORTED" });
  assert.equal(pool.load, 0);
});

/** Mounts a merged image and describes it. */
function describeMounted({ meta, blobs }: { meta: StoredFile; blobs: readonly StoredFile[] }) {
  const path = ({ digestHex }: StoredFile) => join(store, "blobs/sha256", digestHex);
  const target = fresh("mounted");
  mkdirSync(target);
  mountErofs({ metaPath: path(meta), devicePaths: blobs.map(path), target });
  try {
    return describeTree(target);
  } finally {
    unmount(target);
  }
}

async function convertAll(): Promise<LayerResult[]> {
  const results: LayerResult[] = [];
  for (const tar of tars) results.push(await pool.run(layerFile(tar).job));
  return results;
}

test("a merge gives what umoci unpacks, is found again, and is made again when a file of it is gone", async () => {
  const keys = (await convertAll()).map(({ key }) => key);
  const job = { kind: "merge", store, layers: keys, known: null, holdLayers: [keys[2]!], hold: HOLD } as const;
  const merged = await pool.run(job);
  const layout = fresh("layout");
  await writeEdgeImage(layout);
  const reference = describeTree(await unpackWithUmoci(layout, "edge", fresh("umoci")));
  const times = new Set(["/", "/b", "/implied", "/implied/a", "/implied/a/b"]);
  const except = (path: string, fact: string) => fact === "mtime" && times.has(path);
  assert.deepEqual(compareTrees(reference, describeMounted(merged), except), []);

  rmSync(join(store, "blobs/sha256", merged.meta.digestHex));
  assert.deepEqual(await pool.run({ ...job, known: merged }), merged);
  assert.deepEqual(await pool.run({ ...job, known: merged }), merged);
  const gone = "f".repeat(64);
  await assert.rejects(pool.run({ ...job, layers: [keys[0]!, gone] }), { code: "ERR_LAYER_GONE", message: gone });
});

/** Overlayfs tells the links that a file had before one of its names was removed above. */
const LINKS_BELOW = new Set(["/linked-lib"]);
const removedLink = (path: string, fact: string) => LINKS_BELOW.has(path) && (fact === "nlink" || fact === "links");

/** An overlay over the merged edge image in which a container has done all it can do. */
async function changedContainer(t: TestContext): Promise<{ upper: string; view: string; keys: string[] }> {
  const keys = (await convertAll()).map(({ key }) => key);
  const merged = await pool.run({ kind: "merge", store, layers: keys, known: null, holdLayers: [], hold: HOLD });
  const path = ({ digestHex }: StoredFile) => join(store, "blobs/sha256", digestHex);
  const [lower, upper, workdir, view] = ["lower", "upper", "work", "view"].map((name) => {
    const folder = fresh(name);
    mkdirSync(folder);
    return folder;
  }) as [string, string, string, string];
  mountErofs({ metaPath: path(merged.meta), devicePaths: merged.blobs.map(path), target: lower });
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${workdir}`, "index=off"];
  mount({ type: "overlay", source: "overlay", target: view, options });
  t.after(() => {
    unmount(view);
    unmount(lower);
  });
  const at = (name: string) => join(view, name);
  // Whiteouts are hard links of one inode to the file system, and several are needed to see that.
  for (const name of ["usr/lib/libx.so", "sizes/big", "link-kept", "names"]) rmSync(at(name), { recursive: true });
  rmSync(at("opaque"), { recursive: true });
  mkdirSync(at("opaque"), { mode: 0o700 });
  writeFileSync(at("opaque/fresh"), "fresh");
  writeFileSync(at("data/b"), "appended", { flag: "a" });
  chmodSync(at("types/owner"), 0o600);
  chownSync(at("data"), 7, 8);
  writeFileSync(at("large"), Buffer.alloc(3 << 20, "large"));
  linkSync(at("large"), at("data/large-link"));
  symlinkSync("large", at("soft"));
  setXattr(at("large"), "user.mine", "yes");
  setXattr(at("large"), "security.capability", readCapability());
  await run("mknod", [at("char"), "c", "1", "3"]);
  await run("mkfifo", [at("fifo")]);
  return { upper, view, keys };
}
function readCapability(): string {
  return Buffer.from("0100000200200000000000000000000000000000", "hex").toString("latin1");
}

test("a container's changes as a directory layer: merged over the image they give what the container saw", async (t) => {
  const { upper, view, keys } = await changedContainer(t);
  const seen = describeTree(view);
  const { key } = await pool.run({ kind: "directory", store, path: upper, hold: HOLD });
  const merged = await pool.run({
    kind: "merge",
    store,
    layers: [...keys, key],
    known: null,
    holdLayers: [],
    hold: HOLD,
  });
  assert.deepEqual(compareTrees(seen, describeMounted(merged), removedLink), []);
});

for (const compression of ["gzip", "zstd", "none"] as const)
  test(`a container's changes as an OCI layer, ${compression}: pulled again they give what the container saw`, async (t) => {
    const { upper, view, keys } = await changedContainer(t);
    // An OCI layer has whole seconds.
    const seen = describeTree(view);
    const output = fresh("diff");
    const diff = await pool.run({ kind: "diff", upper, output, compression, latestSeconds: null });
    const bytes = readFileSync(output);
    assert.deepEqual([diff.digest, diff.size], [sha256(bytes), bytes.length]);
    const layer = await pool.run({
      ...layerFile(tars[0]!).job,
      digest: diff.digest,
      size: diff.size,
      compression,
      path: output,
    });
    assert.deepEqual(layer.tar, { diffId: diff.diffId, tarBytes: diff.tarBytes });
    const merged = await pool.run({
      kind: "merge",
      store,
      layers: [...keys, layer.key],
      known: null,
      holdLayers: [],
      hold: HOLD,
    });
    const differences = compareTrees(seen, describeMounted(merged), (path, fact, expected, found) => {
      if (fact !== "mtime") return removedLink(path, fact);
      return path === "/" || expected?.split(".")[0] === found?.split(".")[0];
    });
    assert.deepEqual(differences, []);

    const again = await pool.run({ kind: "diff", upper, output: fresh("diff"), compression, latestSeconds: null });
    assert.equal(again.digest, diff.digest, "the same changes give the same bytes");
    const names = (await run("tar", ["-tf", output])).stdout.split("\n");
    for (const name of ["usr/lib/.wh.libx.so", "sizes/.wh.big", ".wh.link-kept", ".wh.names", "opaque/.wh..wh..opq"])
      assert.ok(names.includes(name), `${name} is in the layer`);
    await unpackWithTar(output, fresh("unpacked"));
  });

test("no file of a layer is younger than is asked for", async () => {
  const upper = fresh("upper");
  mkdirSync(upper);
  writeFileSync(join(upper, "now"), "now");
  const output = fresh("diff");
  await pool.run({ kind: "diff", upper, output, compression: "none", latestSeconds: 1_000_000_000 });
  const { stdout } = await run("tar", ["--utc", "--full-time", "-tvf", output]);
  assert.match(stdout, /2001-09-09 01:46:40 now/);
});

test("what an OCI layer cannot say is refused, and leaves no file", async () => {
  const upper = fresh("upper");
  mkdirSync(join(upper, "renamed"), { recursive: true });
  setXattr(join(upper, "renamed"), "trusted.overlay.redirect", "/elsewhere");
  const output = fresh("diff");
  const job = { kind: "diff", upper, output, compression: "gzip", latestSeconds: null } as const;
  await assert.rejects(pool.run(job), { code: "ERR_UNSUPPORTED", message: /renamed/ });
  assert.throws(() => readFileSync(output), { code: "ENOENT" });
});

test("a prune takes what nothing holds", async () => {
  const { job } = layerFile(tars[0]!);
  const { record } = await pool.run(job);
  assert.equal((await pool.run({ kind: "prune", store })).blobs, 0);
  const opened = await Store.open(store);
  opened.removeHold(HOLD.key);
  opened.close();
  const pruned = await pool.run({ kind: "prune", store });
  assert.deepEqual([pruned.layers, pruned.blobs], [1, record.blob ? 2 : 1]);
});
