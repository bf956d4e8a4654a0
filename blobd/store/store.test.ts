import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { defaultStoreRoot } from "./paths.ts";
import type { ImageRecord, LayerRecord } from "./records.ts";
import { recordKey, Store } from "./store.ts";

const LAYER_DIGEST = `sha256:${"1".repeat(64)}`;
const KEY = "a".repeat(64);
const OTHER = "b".repeat(64);

let root: string;
let store: Store;
let warnings: string[];
beforeEach(async () => {
  root = join(mkdtempSync(join(tmpdir(), "store-")), "store");
  warnings = [];
  store = await Store.open(root, { durable: false, onWarning: (message) => warnings.push(message) });
});
afterEach(() => {
  store.close();
  rmSync(join(root, ".."), { recursive: true, force: true });
});

async function makeLayer(name: string, key = KEY): Promise<LayerRecord> {
  const [meta, blob] = [
    await store.putBytes(Buffer.from(`meta ${name}`)),
    await store.putBytes(Buffer.from(`blob ${name}`)),
  ];
  const file = ({ digestHex, size, blocks }: typeof meta) => ({ digestHex, size, blocks });
  const record = { layerDigest: LAYER_DIGEST, meta: file(meta), blob: file(blob), stats: { files: 3 } };
  store.putLayer(key, record);
  return record;
}

async function makeImage(name: string, key: string, layers: Record<string, LayerRecord>): Promise<ImageRecord> {
  const { digestHex, size, blocks } = await store.putBytes(Buffer.from(`merged ${name}`));
  const record: ImageRecord = {
    manifestDigest: LAYER_DIGEST,
    references: [name],
    meta: { digestHex, size, blocks },
    blobs: Object.values(layers).flatMap((layer) => layer.blob ?? []),
    layers: Object.keys(layers),
    config: { architecture: "amd64" },
    stats: {},
    createdMs: 1_790_000_000_000,
  };
  store.putImage(key, record);
  return record;
}

/** Another file of the same size and times in the place of a blob, as a failing disk or a clumsy hand leaves it. */
function damage(digestHex: string): void {
  const path = store.blobPath(digestHex);
  const { atime, mtime } = statSync(path);
  chmodSync(path, 0o600);
  writeFileSync(path, "damaged", { flag: "r+" });
  utimesSync(path, atime, mtime);
}

test("a layer record comes back as it was put", async () => {
  assert.equal(await store.getLayer(KEY), undefined);
  const record = await makeLayer("one");
  assert.deepEqual(await store.getLayer(KEY), record);
  store.putLayer(OTHER, { layerDigest: LAYER_DIGEST, diffId: LAYER_DIGEST, meta: record.meta, stats: {} });
  assert.equal("blob" in (await store.getLayer(OTHER))!, false);
  const verity = { dataBlocks: 2, rootHex: "5".repeat(64) };
  const borrowing = { ...record, meta: { ...record.meta, verity }, borrowed: [record.blob!] };
  store.putLayer(OTHER, borrowing);
  assert.deepEqual(await store.getLayer(OTHER), borrowing);
  assert.deepEqual(warnings, []);
});

test("a record that is not one counts as absent, with a warning that says why", async () => {
  const good = JSON.stringify({ version: 1, ...(await makeLayer("one")) });
  const bad: [(o: Record<string, object>) => unknown, RegExp][] = [
    [() => "{", /JSON/],
    [() => "", /JSON/],
    [() => "null", /record: found null, expected an object/],
    [(o) => ({ ...o, version: 2 }), /version: found 2, expected 1/],
    [(o) => ({ ...o, layerDigest: "sha256:../../etc" }), /layerDigest/],
    [(o) => ({ ...o, diffId: 7 }), /diffId: found 7/],
    [(o) => ({ ...o, meta: undefined }), /meta: found undefined/],
    [(o) => ({ ...o, meta: { ...o.meta, digestHex: "../../../etc/passwd" } }), /meta.digestHex/],
    [(o) => ({ ...o, meta: { ...o.meta, digestHex: "A".repeat(64) } }), /meta.digestHex/],
    [(o) => ({ ...o, meta: { ...o.meta, size: -1 } }), /meta.size/],
    [(o) => ({ ...o, meta: { ...o.meta, size: 4096, blocks: 1 } }), /multiple of 2 MiB/],
    [(o) => ({ ...o, meta: { ...o.meta, size: 2 ** 60 } }), /meta.size/],
    [(o) => ({ ...o, meta: { ...o.meta, blocks: 511 } }), /meta.blocks: found 511, expected 512/],
    [(o) => ({ ...o, blob: [] }), /blob: found \[\], expected an object/],
    [(o) => ({ ...o, stats: { files: "many" } }), /stats.files/],
    [(o) => ({ ...o, borrowed: {} }), /borrowed: found {}, expected a list/],
    [(o) => ({ ...o, borrowed: [{}] }), /borrowed.size/],
    ...[0, 512, -1, 1.5].map((dataBlocks): [(o: Record<string, object>) => unknown, RegExp] => [
      (o) => ({ ...o, meta: { ...o.meta, verity: { dataBlocks, rootHex: "a".repeat(64) } } }),
      /meta.verity.dataBlocks/,
    ]),
    [(o) => ({ ...o, meta: { ...o.meta, verity: { dataBlocks: 1, rootHex: "a" } } }), /meta.verity.rootHex/],
  ];
  for (const [change, why] of bad) {
    const changed = change(JSON.parse(good));
    writeFileSync(join(root, "layers", `${KEY}.json`), typeof changed === "string" ? changed : JSON.stringify(changed));
    warnings = [];
    assert.equal(await store.getLayer(KEY), undefined);
    assert.equal(warnings.length, 1, String(change));
    assert.match(warnings[0]!, why);
  }
  writeFileSync(join(root, "layers", `${KEY}.json`), good);
  assert.notEqual(await store.getLayer(KEY), undefined);
  truncateSync(join(root, "layers", `${KEY}.json`), 16 * 1024 * 1024 + 1);
  assert.equal(await store.getLayer(KEY), undefined);
});

test("a record that could not be read again is not written", async () => {
  const record = await makeLayer("one");
  assert.throws(() => store.putLayer(OTHER, { ...record, layerDigest: "latest" }), /layerDigest/);
  assert.throws(() => store.putLayer("../escape", record), RangeError);
  assert.throws(() => store.blobPath("../../etc/passwd"), RangeError);
  await assert.rejects(store.getLayer(KEY.toUpperCase()), RangeError);
});

for (const [what, harm] of [
  ["missing", (path: string) => rmSync(path)],
  ["short", (path: string) => truncateSync(path, 4096)],
  ["long", (path: string) => truncateSync(path, 4 * 1024 * 1024)],
  ["changed", (path: string) => damage(path.slice(-64))],
] as const)
  for (const which of ["meta", "blob"] as const)
    test(`a layer whose ${which} is ${what} is absent, and converting it again repairs it`, async () => {
      const record = await makeLayer("one");
      harm(store.blobPath(record[which]!.digestHex));
      assert.equal(await store.getLayer(KEY), undefined);
      assert.match(warnings.join(), /is (missing|corrupt)/);
      assert.equal(existsSync(join(root, "layers", `${KEY}.json`)), false);
      assert.deepEqual(await makeLayer("one"), record);
      assert.deepEqual(await store.getLayer(KEY), record);
    });

test("writing the content of a damaged blob again replaces it", async () => {
  const { digestHex } = await store.putBytes(Buffer.from("content"));
  damage(digestHex);
  await store.putBytes(Buffer.from("content"));
  assert.equal(await store.verifyBlob(digestHex), "good");
  assert.equal(store.readBlob(digestHex).toString("latin1", 0, 7), "content");
});

test("a blob that may have been changed, and was not, is read and believed again", async () => {
  const { meta } = await makeLayer("one");
  const stamp = join(root, "verified", "sha256", `${meta.digestHex}.json`);
  const before = readFileSync(stamp, "utf8");
  utimesSync(store.blobPath(meta.digestHex), 1, 1);
  assert.notEqual(await store.getLayer(KEY), undefined);
  assert.notEqual(readFileSync(stamp, "utf8"), before);
  rmSync(stamp);
  assert.notEqual(await store.getLayer(KEY), undefined);
  assert.equal(existsSync(stamp), true);
  writeFileSync(stamp, "torn");
  assert.notEqual(await store.getLayer(KEY), undefined);
  assert.deepEqual(warnings, []);
});

test("verifyBlob reads the bytes, whatever the stamp says", async () => {
  const { digestHex } = await store.putBytes(Buffer.from("content"));
  assert.equal(await store.verifyBlob(digestHex), "good");
  damage(digestHex);
  assert.equal(await store.verifyBlob(digestHex), "corrupt");
  assert.equal(await store.verifyBlob(digestHex), "missing", "a corrupt blob is removed");
  assert.throws(() => store.openBlob(digestHex), { name: "StoreError", code: "ERR_STORE_IO" });
});

test("an image record keeps its references and knows its last use", async () => {
  const layer = await makeLayer("one");
  const record = await makeImage("docker.io/library/a:1", KEY, { [KEY]: layer });
  await makeImage("docker.io/library/a:latest", KEY, { [KEY]: layer });
  await makeImage("b", OTHER, { [KEY]: layer });
  utimesSync(join(root, "images", `${KEY}.json`), 1000, 1000);
  assert.deepEqual(
    store.listImages().map(({ key }) => key),
    [OTHER, KEY],
  );
  const references = ["docker.io/library/a:1", "docker.io/library/a:latest"];
  assert.deepEqual({ ...(await store.getImage(KEY)), meta: record.meta }, { ...record, references });
  assert.deepEqual(
    store.listImages().map(({ key, record }) => [key, record.references.length]),
    [
      [KEY, 2],
      [OTHER, 1],
    ],
  );
  rmSync(store.blobPath(layer.blob!.digestHex));
  assert.equal(await store.getImage(KEY), undefined);
});

test("a record key depends on every field and not on their order", () => {
  const key = recordKey({ layer: "x", chunk: 2, inline: false });
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.equal(recordKey({ inline: false, chunk: 2, layer: "x" }), key);
  const others: Parameters<typeof recordKey>[0][] = [
    { layer: "x", chunk: 2 },
    { layer: "x", chunk: "2", inline: false },
    { layer: "x", chunk: 2, inline: true },
  ];
  for (const other of others) assert.notEqual(recordKey(other), key);
});

test("a folder with other things in it is refused and left as it is", async () => {
  const folder = mkdtempSync(join(tmpdir(), "store-foreign-"));
  writeFileSync(join(folder, "letter.txt"), "");
  await assert.rejects(Store.open(folder), { code: "ERR_STORE_CORRUPT", message: /not a store .* letter\.txt/ });
  assert.deepEqual(readdirSync(folder), ["letter.txt"]);
  rmSync(folder, { recursive: true });
  await assert.rejects(Store.open(join(root, "lock", "below")), { name: "StoreError", code: "ERR_STORE_IO" });
});

test("left-overs in tmp and locks go when the store is opened alone, and only then", async () => {
  const leftovers = () => [...readdirSync(join(root, "tmp")), ...readdirSync(join(root, "locks"))];
  const writer = store.createBlob();
  (await Store.open(root)).close();
  assert.equal(leftovers().length, 1);
  writeFileSync(join(root, "locks", KEY), "");
  store.close();
  store = await Store.open(root);
  assert.deepEqual(leftovers(), []);
  await writer.abort();
});

test("work under one layer lock runs one at a time, also between handles of one thread", async () => {
  const other = await Store.open(root);
  let running = 0;
  const turns: number[] = [];
  const work = (turn: number) => async () => {
    assert.equal(++running, 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running--;
    turns.push(turn);
    if (turn === 2) throw new Error("a failing conversion");
    return turn;
  };
  const all = [store, other, store, other].map((s, turn) => s.withLayerLock(KEY, work(turn)));
  const settled = await Promise.allSettled(all);
  assert.deepEqual(
    settled.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual([...turns].sort(), [0, 1, 2, 3]);
  assert.deepEqual(readdirSync(join(root, "locks")), []);
  other.close();
});

test("waiting for a layer lock can be given up", async () => {
  const abort = new AbortController();
  await store.withLayerLock(KEY, async () => {
    const waiting = store.withLayerLock(KEY, async () => assert.fail("not while it is held"), abort.signal);
    setTimeout(() => abort.abort(new Error("interrupted")), 5);
    await assert.rejects(waiting, /interrupted/);
  });
  assert.equal(await store.withLayerLock(KEY, async () => "free"), "free");
});

test("the default place follows the settings, then the user", () => {
  assert.equal(defaultStoreRoot({ EROFSIFY_STORE: "/s" }, 0), "/s");
  assert.equal(defaultStoreRoot({ XDG_DATA_HOME: "/d" }, 0), "/var/lib/erofsify");
  assert.equal(defaultStoreRoot({ XDG_DATA_HOME: "/d" }, 1000), "/d/erofsify");
  assert.match(defaultStoreRoot({ XDG_DATA_HOME: "relative" }, 1000), /\/\.local\/share\/erofsify$/);
});
