import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { StoredFile } from "./records.ts";
import { recordKey, Store } from "./store.ts";

const DIGEST = `sha256:${"1".repeat(64)}`;
const KEY = recordKey({ name: "hold" });
/** What one blob of these tests takes on disk. */
const BLOB_BYTES = 64 * 1024;

let root: string;
let store: Store;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "store-prune-"));
  store = await Store.open(root, { durable: false, onWarning: () => {} });
});
afterEach(() => {
  store.close();
  rmSync(root, { recursive: true, force: true });
});

async function file(name: string): Promise<StoredFile> {
  const { digestHex, size, blocks } = await store.putBytes(Buffer.alloc(BLOB_BYTES, name));
  return { digestHex, size, blocks };
}

/** Layer `l` has the blobs `l.meta` and `l.data`. */
async function layer(name: string): Promise<void> {
  const record = { layerDigest: DIGEST, meta: await file(`${name}.meta`), blob: await file(`${name}.data`), stats: {} };
  store.putLayer(recordKey({ name }), record);
}

/** Image `i` has the blob `i.merged` and its layers' data; it was last used at `usedSeconds`. */
async function image(name: string, layers: readonly string[], usedSeconds: number): Promise<void> {
  for (const one of layers) await layer(one);
  const key = recordKey({ name });
  store.putImage(key, {
    manifestDigest: DIGEST,
    references: [name],
    meta: await file(`${name}.merged`),
    blobs: await Promise.all(layers.map((one) => file(`${one}.data`))),
    layers: layers.map((one) => recordKey({ name: one })),
    config: {},
    stats: {},
    createdMs: 0,
  });
  utimesSync(join(root, "images", `${key}.json`), usedSeconds, usedSeconds);
}

const names = (folder: string): string[] => readdirSync(join(root, folder)).map((name) => name.replace(".json", ""));
const keysOf = (...all: string[]): string[] => all.map((name) => recordKey({ name })).sort();
async function assertLeft(images: string[], layers: string[], blobs: string[]): Promise<void> {
  assert.deepEqual(names("images").sort(), keysOf(...images));
  assert.deepEqual(names("layers").sort(), keysOf(...layers));
  const left = store.listBlobs();
  assert.deepEqual(names("verified/sha256").sort(), left);
  assert.deepEqual(left, (await Promise.all(blobs.map(file))).map(({ digestHex }) => digestHex).sort());
}

test("what an image holds stays, what nothing holds goes", async () => {
  await image("i", ["a", "b"], 1);
  await layer("stray");
  await file("orphan");
  const result = await store.prune();
  assert.deepEqual(result.images, []);
  assert.deepEqual(result.layers, keysOf("stray"));
  assert.equal(result.blobs.length, 3);
  assert.deepEqual([result.freedBytes, result.keptBytes], [3 * BLOB_BYTES, 5 * BLOB_BYTES]);
  await assertLeft(["i"], ["a", "b"], ["i.merged", "a.meta", "a.data", "b.meta", "b.data"]);
});

test("beyond the size limit images go by last use, and shared layers stay as long as one image has them", async () => {
  await image("old", ["base", "x"], 1);
  await image("mid", ["base", "y"], 2);
  await image("new", ["base", "z"], 3);
  // Each image is 1 merged meta and 2 blobs of its own layer; the base is 2 more.
  const plan = await store.prune({ maxBytes: 8 * BLOB_BYTES, dryRun: true });
  assert.deepEqual(plan.images, [{ key: recordKey({ name: "old" }), references: ["old"] }]);
  assert.deepEqual([plan.freedBytes, plan.keptBytes], [3 * BLOB_BYTES, 8 * BLOB_BYTES]);
  assert.equal(store.listImages().length, 3, "a dry run removes nothing");

  assert.deepEqual(await store.prune({ maxBytes: 8 * BLOB_BYTES }), plan);
  const mid = ["mid.merged", "y.meta", "y.data"];
  await assertLeft(
    ["mid", "new"],
    ["base", "y", "z"],
    [...mid, "new.merged", "z.meta", "z.data", "base.meta", "base.data"],
  );

  const keepImages = new Set(keysOf("mid"));
  await store.prune({ maxBytes: 8 * BLOB_BYTES - 1, keepImages });
  await assertLeft(["mid"], ["base", "y"], [...mid, "base.meta", "base.data"]);
  await store.prune({ maxBytes: 0, keepImages });
  assert.equal(store.listImages().length, 1);
  await store.prune({ maxBytes: 0 });
  await assertLeft([], [], []);
});

test("records that are no good, or name what is not there, go", async () => {
  await image("broken", ["a"], 1);
  await image("torn", ["b"], 1);
  await image("good", ["c"], 1);
  rmSync(store.blobPath((await file("a.data")).digestHex));
  writeFileSync(join(root, "images", `${keysOf("torn")[0]}.json`), "{");
  writeFileSync(join(root, "layers", `${"f".repeat(64)}.json`), "{");
  const result = await store.prune();
  assert.deepEqual(result.images.map(({ key }) => key).sort(), keysOf("broken", "torn"));
  await assertLeft(["good"], ["c"], ["good.merged", "c.meta", "c.data"]);
});

test("an image outlives the loss of a layer's meta, which only a new merge would need", async () => {
  await image("i", ["a"], 1);
  rmSync(store.blobPath((await file("a.meta")).digestHex));
  await store.prune();
  await assertLeft(["i"], [], ["i.merged", "a.data"]);
});

test("a removed image's blobs go with the next prune", async () => {
  await image("i", ["a"], 1);
  await image("j", ["b"], 1);
  store.removeImage(recordKey({ name: "i" }));
  await store.prune();
  await assertLeft(["j"], ["b"], ["j.merged", "b.meta", "b.data"]);
});

test("nothing is removed while another handle is open", async () => {
  await file("orphan");
  const other = await Store.open(root);
  await assert.rejects(store.prune({ waitMs: 5 }), { name: "StoreError", code: "ERR_STORE_BUSY" });
  assert.equal(store.listBlobs().length, 1);
  setTimeout(() => other.close(), 20);
  assert.equal((await store.prune({ waitMs: 5000 })).blobs.length, 1);
  (await Store.open(root)).close(); // The exclusive lock was given back.
});

test("what is held stays, layers with their files, until the hold is given back", async () => {
  await image("a", ["one"], 1);
  await layer("alone");
  const merged = await file("merged");
  store.putHold(KEY, { owner: "test", layers: [recordKey({ name: "alone" })], files: [merged.digestHex] });
  const held = await store.prune({ maxBytes: 0 });
  assert.deepEqual(
    held.images.map(({ references }) => references),
    [["a"]],
  );
  await assertLeft([], ["alone"], ["alone.meta", "alone.data", "merged"]);

  assert.deepEqual(store.listHolds(), [
    { key: KEY, owner: "test", layers: [recordKey({ name: "alone" })], files: [merged.digestHex] },
  ]);
  store.removeHold(KEY);
  assert.deepEqual(store.listHolds(), []);
  await store.prune();
  assert.deepEqual([names("layers"), store.listBlobs()], [[], []]);
});

test("holds that are no good hold nothing and harm nothing", async () => {
  await layer("alone");
  writeFileSync(join(root, "holds", `${KEY}.json`), '{"owner":"x","layers":["../../etc"],"files":7}');
  writeFileSync(join(root, "holds", `${KEY.replaceAll("0", "1")}.json`), "{");
  await store.prune();
  assert.deepEqual([names("layers"), store.listBlobs()], [[], []]);
  assert.equal(store.listHolds().length, 2);
});
