import assert from "node:assert/strict";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { ChunkIndexWriter } from "../../formats/chunk-index/index.ts";
import { allocAligned } from "../sys/index.ts";
import { type PartialBlob, Store, StoreError } from "./index.ts";
import { chunkOf, makeBlob } from "./partials-testing.ts";

let root: string;
let store: Store;
beforeEach(async () => {
  root = join(mkdtempSync(join(tmpdir(), "partials-")), "store");
  store = await Store.open(root, { durable: false });
});
afterEach(() => {
  store.close();
  rmSync(join(root, ".."), { recursive: true, force: true });
});

const blob = makeBlob(1, 32);
const files = () => readdirSync(join(root, "partial")).sort();
const mapPath = (partial: PartialBlob) => join(root, "partial", `${partial.key}.map`);

async function fill(partial: PartialBlob, from = blob, chunks = [...Array(32).keys()]): Promise<void> {
  for (const chunk of chunks) await partial.put(chunk, chunkOf(from, chunk));
}

test("chunks come in any order, and are read back; the rest takes no room", async () => {
  const partial = (await store.partials.open(blob))!;
  assert.equal(statSync(partial.path).size, blob.content.length);
  assert.ok(statSync(partial.path).blocks < 8);
  await fill(partial, blob, [31, 0, 7]);
  assert.deepEqual(
    [31, 0, 7, 8].map((chunk) => partial.isPresent(chunk)),
    [true, true, true, false],
  );
  assert.equal(partial.countPresent(), 3);
  const into = Buffer.alloc(64 << 10);
  await partial.read(into, 7 * (64 << 10));
  assert.ok(into.equals(chunkOf(blob, 7)));
  assert.equal(partial.isWhole, false);
  await assert.rejects(store.partials.complete(partial), /chunks are missing/);
  await assert.rejects(partial.put(1, Buffer.alloc(5)), RangeError);
  partial.close();
});

test("memory on a page boundary goes past the page cache and is the same", async () => {
  const partial = (await store.partials.open(blob))!;
  const memory = allocAligned(64 << 10);
  chunkOf(blob, 3).copy(memory.bytes);
  await partial.put(3, memory.bytes);
  const into = Buffer.alloc(64 << 10);
  await partial.read(into, 3 * (64 << 10));
  assert.ok(into.equals(chunkOf(blob, 3)));
  partial.close();
});

test("two openings see each other's chunks and exclude each other's claims", async () => {
  const one = (await store.partials.open(blob))!;
  const two = (await store.partials.open(blob))!;
  assert.equal(one.tryClaim(5), true);
  assert.equal(two.tryClaim(5), false);
  assert.equal(two.tryClaim(6), true);
  await one.put(5, chunkOf(blob, 5));
  assert.equal(two.isPresent(5), true);
  one.release(5);
  assert.equal(two.tryClaim(5), true);
  two.close();
  assert.equal(one.tryClaim(5), true, "closing gives claims back");
  one.close();
});

test("a whole blob gets its name, and is found complete from then on", async () => {
  const partial = (await store.partials.open(blob))!;
  const other = (await store.partials.open(blob))!;
  await fill(partial);
  assert.equal(await store.partials.complete(partial), "named");
  assert.equal(await store.partials.complete(other), "named", "again is fine");
  assert.deepEqual(store.listBlobs(), [blob.contentHex]);
  assert.deepEqual(files(), []);
  assert.ok(readFileSync(store.blobPath(blob.contentHex)).equals(blob.content));
  assert.equal(statSync(store.blobPath(blob.contentHex)).mode & 0o777, 0o444);
  // Old openings live on.
  const into = Buffer.alloc(10);
  await other.read(into, 100);
  assert.ok(into.equals(blob.content.subarray(100, 110)));
  assert.equal(await store.partials.open(blob), undefined);
  partial.close();
  other.close();
});

test("an image that promises the wrong digest gets no blob of that name, and does not disturb who promises right", async () => {
  const liar = { ...blob, contentHex: "a".repeat(64) };
  const lied = (await store.partials.open(liar))!;
  const right = (await store.partials.open(blob))!;
  assert.notEqual(lied.key, right.key);
  await fill(lied);
  assert.equal(right.countPresent(), 0);
  assert.equal(await store.partials.complete(lied), "mismatch");
  assert.equal(await store.partials.complete(lied), "mismatch", "known without reading again");
  assert.deepEqual(store.listBlobs(), []);
  lied.close();
  const again = (await store.partials.open(liar))!;
  assert.ok(again.isMismatch && again.isWhole);
  again.close();
  right.close();
});

test("what is there is found again, also without the source", async () => {
  const partial = (await store.partials.open(blob))!;
  const { key } = partial;
  await fill(partial, blob, [1, 2]);
  partial.close();
  const again = await store.partials.reopen(key);
  assert.equal(again.countPresent(), 2);
  assert.equal(again.contentHex, blob.contentHex);
  again.close();
  const [info] = store.partials.list();
  assert.deepEqual(
    { ...info, diskBytes: 0, lastUsedMs: 0 },
    { key, contentHex: blob.contentHex, chunks: 32, presentChunks: 2, size: 2 << 20, diskBytes: 0, lastUsedMs: 0 },
  );
  assert.equal(info!.diskBytes, 2 * (64 << 10));
});

test("after a start of the machine chunks are compared with their digests, and damaged ones are absent", async () => {
  const partial = (await store.partials.open(blob))!;
  await fill(partial, blob, [1, 2, 3]);
  const path = mapPath(partial);
  partial.close();
  const damage = openSync(partial.path, "r+");
  writeSync(damage, Buffer.from("zeros where a power failure left none"), 0, 20, 2 * (64 << 10));
  closeSync(damage);
  const same = (await store.partials.open(blob))!;
  assert.equal(same.countPresent(), 3, "believed: the machine is the same");
  same.close();
  const fd = openSync(path, "r+");
  writeSync(fd, Buffer.from("another boot id, of thirty-six bytes"), 0, 36, 64);
  closeSync(fd);
  const after = (await store.partials.open(blob))!;
  assert.deepEqual(
    [1, 2, 3].map((chunk) => after.isPresent(chunk)),
    [true, false, true],
  );
  await after.put(2, chunkOf(blob, 2));
  assert.equal(after.isFromBefore, false);
  after.close();
});

test("verify finds damage, unless the blob is in use", async () => {
  const partial = (await store.partials.open(blob))!;
  const { key } = partial;
  await fill(partial, blob, [0, 1]);
  assert.equal(await store.partials.verify(key), undefined);
  partial.close();
  assert.equal(await store.partials.verify(key), 0);
  truncateSync(partial.path, 64 << 10);
  truncateSync(partial.path, blob.content.length);
  assert.equal(await store.partials.verify(key), 1);
  assert.equal(store.partials.list()[0]!.presentChunks, 1);
  assert.equal(await store.partials.verify("0".repeat(64)), undefined);
});

test("files that are none are errors of the store, not of the process", async () => {
  const partial = (await store.partials.open(blob))!;
  const { key } = partial;
  partial.close();
  const path = mapPath(partial);
  const good = readFileSync(path);
  for (const bad of [
    Buffer.alloc(0),
    good.subarray(0, 200),
    Buffer.from("x".repeat(9000)),
    good.subarray(0, good.length - 1),
  ]) {
    writeFileSync(path, bad);
    await assert.rejects(
      store.partials.open(blob),
      (error) => error instanceof StoreError && error.code === "ERR_STORE_CORRUPT",
    );
    assert.deepEqual(store.partials.list(), []);
  }
  writeFileSync(path, good);
  writeFileSync(join(root, "partial", `${key}.index`), "changed");
  await assert.rejects(
    store.partials.reopen(key),
    (error) => error instanceof StoreError && error.code === "ERR_STORE_CORRUPT",
  );
});

test("indexes by which nothing can be filled safely are refused", async () => {
  const none = new ChunkIndexWriter("none", "none");
  none.add(0, 0, new Uint8Array(0));
  await assert.rejects(
    store.partials.open({ contentHex: blob.contentHex, index: none.finish(4096), storedEnd: 4096 }),
    {
      name: "FormatError",
      code: "ERR_UNSUPPORTED",
    },
  );
  const odd = new ChunkIndexWriter("none", "sha256");
  odd.add(0, 0, new Uint8Array(32));
  odd.add(100, 100, new Uint8Array(32));
  await assert.rejects(store.partials.open({ contentHex: blob.contentHex, index: odd.finish(200), storedEnd: 200 }), {
    name: "FormatError",
    code: "ERR_UNSUPPORTED",
  });
  assert.deepEqual(files(), []);
});

test("eviction takes the least recently used that nobody uses, then unused images' blobs", async () => {
  const blobs = [10, 11, 12, 13].map((seed) => makeBlob(seed, 16));
  const partials: PartialBlob[] = [];
  for (const [i, made] of blobs.entries()) {
    const partial = (await store.partials.open(made))!;
    await fill(partial, made, [...Array(16).keys()]);
    utimesSync(mapPath(partial), 1000 + i, 1000 + i);
    partials.push(partial);
  }
  const [a, b, c, d] = partials as [PartialBlob, PartialBlob, PartialBlob, PartialBlob];
  for (const partial of [a, c, d]) partial.close();
  const unused = await store.putBytes(Buffer.from("nobody needs it"));
  // b is in use; of the others the oldest goes.
  const first = await store.evict({ maxBytes: (3 << 20) + 4096 });
  assert.deepEqual(first.partials, [a.key]);
  assert.equal(first.pruned, undefined);
  const second = await store.evict({ maxBytes: 0 });
  assert.deepEqual(second.partials, [c.key, d.key]);
  assert.deepEqual(second.pruned?.blobs, [unused.digestHex]);
  assert.equal(second.keptBytes, 1 << 20, "what is in use stays");
  assert.equal(b.countPresent(), 16);
  b.close();
  assert.deepEqual((await store.evict({ maxBytes: 0 })).partials, [b.key]);
  assert.deepEqual(files(), []);
});

test("what a killed creation leaves goes with the next prune", async () => {
  writeFileSync(join(root, "partial", `${"c".repeat(64)}.data`), "x");
  const partial = (await store.partials.open(blob))!;
  partial.close();
  await store.prune();
  assert.equal(files().length, 3);
});
