import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Store } from "../../blobd/store/index.ts";
import {
  buildTar,
  compareTrees,
  describeTree,
  erofsify,
  mountImage,
  type Registry,
  startRegistry,
  storeState,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// `--dict`: an image that shares most of its data with others, in the store, in mounts and in a registry.

const directory = tempDir();
const at = (name: string) => join(directory, name);
const MIB = 1 << 20;
let registry: Registry;

// Units of 2 MiB that two files share in another order, so that blocks of different blobs follow each other.
const [a, b, c, d] = Array.from({ length: 4 }, () => randomBytes(2 * MIB));
const small = Array.from({ length: 40 }, (_, i) => ({ name: `small/${i}`, content: randomBytes(3000 + 700 * i) }));
const folder = { name: "small/", type: "5" };
const base = buildTar([folder, ...small, { name: "large", content: Buffer.concat([a!, b!, randomBytes(5000)]) }]);
const old = buildTar([{ name: "old", content: randomBytes(500_000) }]);
const rebuilt = buildTar([
  { name: "first", content: randomBytes(10_000) },
  folder,
  ...small.slice(1),
  { name: "mixed", content: Buffer.concat([b!, c!, a!, d!, a!, b!]) },
  { name: "large", content: Buffer.concat([a!, c!, b!, randomBytes(100)]) },
]);
const onlyKnown = buildTar([folder, ...small.slice(5, 20)]);

before(async () => {
  registry = await startRegistry();
  await writeOciLayout(at("layout-v1"), "v1", [base, old], {});
  await writeOciLayout(at("layout-v2"), "v2", [base, rebuilt, onlyKnown], {});
  await writeOciLayout(at("layout-alone"), "alone", [onlyKnown], {});
});
after(() => registry.stop());

const ref = (tag: string) => `oci:${at(`layout-${tag}`)}:${tag}`;

interface Converted {
  readonly image: string;
  readonly meta: { readonly digestHex: string };
  readonly blobs: readonly { readonly digestHex: string; readonly size: number }[];
  readonly dictionaryBytes: number;
  readonly layersConverted: number;
}

async function convert(store: string, tag: string, ...options: string[]): Promise<Converted> {
  const { status, stdout, stderr } = await erofsify(["--json", "--quiet", "--store", at(store), ref(tag), ...options]);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Converted;
}

test("what a dictionary holds is not stored again, and the files are the same path by path", async (t) => {
  const first = await convert("store", "v1");
  const plain = await convert("plain", "v2");
  const before = storeState(at("store")).blobs.length;
  const second = await convert("store", "v2", "--dict", ref("v1"));
  // Of the rebuilt layer, c, d, `first` and the ends are new.
  const shared = 3 * 2 * MIB + 2 * MIB + small.slice(1).reduce((sum, { content }) => sum + content.length, 0);
  assert.ok(second.dictionaryBytes >= shared, `${second.dictionaryBytes} of at least ${shared} bytes found`);
  const names = ({ blobs }: Converted) => blobs.map(({ digestHex }) => digestHex);
  assert.ok(names(second).includes(names(first)[0]!), "the base layer's blob is one of its devices");
  assert.equal(second.layersConverted, 2, "the base layer is taken as it is");
  // The rebuilt layer's blob, three metas and the image's; the third layer stores no data at all.
  assert.equal(storeState(at("store")).blobs.length - before, 4);

  const paths = (store: string, { meta, blobs }: Converted) => ({
    metaPath: at(`${store}/blobs/sha256/${meta.digestHex}`),
    devicePaths: blobs.map(({ digestHex }) => at(`${store}/blobs/sha256/${digestHex}`)),
  });
  const expected = await describeTree(mountImage(t, paths("plain", plain)));
  for (const backing of ["file", "loop"] as const)
    compareTrees(await describeTree(mountImage(t, { ...paths("store", second), backing })), expected);
  const check = await erofsify(["check", "--store", at("store"), ref("v2")]);
  assert.equal(check.status, 0, check.stderr);
});

test("layer, options and dictionary decide the bytes; with another dictionary it is another result", async () => {
  const state = async (store: string, jobs: string) => {
    await convert(store, "v1", "--jobs", jobs);
    const { meta, blobs } = await convert(store, "v2", "--dict", ref("v1"), "--jobs", jobs, "--threads", jobs);
    return [meta, blobs];
  };
  assert.deepEqual(await state("again-1", "1"), await state("again-2", "2"));
  const { meta } = await convert("again-3", "v2");
  await convert("again-3", "alone");
  const other = await convert("again-3", "v2", "--dict", ref("alone"));
  const twice = await convert("again-1", "v2", "--dict", ref("v1"), "--dict", ref("v2"));
  const metas = new Set([meta, other.meta, twice.meta, (await convert("again-1", "v1")).meta].map((m) => m.digestHex));
  assert.equal(metas.size, 4);
});

test("blobs of the dictionary live as long as what refers to them", async () => {
  cpSync(at("store"), at("pruned"), { recursive: true });
  const store = await Store.open(at("pruned"));
  const v1 = store.listImages().find(({ record }) => record.references.includes(ref("v1")))!;
  store.removeImage(v1.key);
  await store.prune();
  store.close();
  const check = await erofsify(["check", "--store", at("pruned"), ref("v2")]);
  assert.equal(check.status, 0, check.stderr);
  // Nor is the layer's record believed when they are gone.
  const again = await convert("pruned", "v2");
  assert.equal(again.dictionaryBytes, 0);
});

test("a push mounts the dictionary's blobs from where they were pushed to", async () => {
  const push = async (tag: string, to: string, ...options: string[]) => {
    const args = ["push", "--store", at("store"), ref(tag), "--to", `${registry.host}/${to}`, ...options];
    const { status, stderr } = await erofsify(args);
    assert.equal(status, 0, stderr);
    return stderr;
  };
  await push("v1", "team-a/app:v1");
  const log = await push("v2", "team-b/other:v2", "--dict", ref("v1"));
  assert.equal(log.match(/mounted from another repository/g)?.length, 1, log);
  // In one go, the image that was converted is the one that is pushed: its source's three layers are looked at once.
  const args = ["--store", at("store"), ref("v2"), "--dict", ref("v1"), "--push", "--to", `${registry.host}/c/a:v2`];
  const { status, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  assert.equal(stderr.match(/already here/g)?.length, 3, stderr);
});

test("a dictionary that is not there, or has no hash trees when they are wanted, is refused before any work", async () => {
  const args = ["--quiet", "--store", at("store"), ref("v2")];
  const absent = await erofsify([...args, "--dict", "nobody/has:this"]);
  assert.equal(absent.status, 4);
  assert.match(absent.stderr, /no image of that name in the store/);
  const bare = await erofsify([...args, "--verity", "--dict", ref("v1")]);
  assert.equal(bare.status, 4);
  assert.match(bare.stderr, /converted without hash trees.*convert it with --verity/);
});
