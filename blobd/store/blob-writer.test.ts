import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BlobFile } from "./blob-file.ts";
import { BlobWriter } from "./blob-writer.ts";
import { BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { Segments } from "./segments.ts";
import { Store } from "./store.ts";

const MIB = 1024 * 1024;
const root = mkdtempSync(join(tmpdir(), "store-writer-"));
let store: Store;
before(async () => {
  store = await Store.open(root);
});
after(() => {
  store.close();
  rmSync(root, { recursive: true, force: true });
});

const tmpFiles = () => readdirSync(join(root, "tmp"));

test("the name is the sha256 of the whole file, and the file is read-only", async () => {
  const { digestHex, size, blocks, dataBlocks } = await store.putBytes(Buffer.from("hello"));
  const bytes = readFileSync(store.blobPath(digestHex));
  assert.equal(createHash("sha256").update(bytes).digest("hex"), digestHex);
  assert.equal(bytes.toString("latin1", 0, 6), "hello\0");
  assert.deepEqual([size, bytes.length, blocks, dataBlocks], [2 * MIB, 2 * MIB, 512, 1]);
  assert.equal(statSync(store.blobPath(digestHex)).mode & 0o777, 0o444);
  assert.deepEqual(tmpFiles(), []);
});

test("holes and padding take no disk", async () => {
  const writer = store.createBlob();
  const file = Buffer.alloc(4096, 1);
  assert.equal(writer.begin(), 0);
  writer.write(file);
  assert.equal(writer.begin(SEGMENT_BYTES), 512);
  writer.write(file);
  const { digestHex, blocks, dataBlocks } = (await writer.finish())!;
  assert.deepEqual([blocks, dataBlocks], [1024, 513]);
  assert.ok(statSync(store.blobPath(digestHex)).blocks * 512 <= 16 * 4096, "two blocks of data and the extent tree");
});

test("a hole stays one when a rewind stops right behind it", async () => {
  const writer = store.createBlob();
  writer.write(Buffer.alloc(100, 2));
  writer.begin(SEGMENT_BYTES);
  writer.write(Buffer.alloc(3 * MIB, 3));
  writer.rewind(2 * MIB);
  writer.write(Buffer.alloc(100, 4));
  const { digestHex } = (await writer.finish())!;
  assert.ok(statSync(store.blobPath(digestHex)).blocks * 512 <= 16 * 4096);
});

test("a rewind into a hole, or before it, makes it content", async () => {
  for (const to of [50, 100, 5000, 2 * MIB - 1]) {
    const writer = store.createBlob();
    writer.write(Buffer.alloc(100, 2));
    writer.begin(SEGMENT_BYTES);
    writer.rewind(to);
    writer.write(Buffer.alloc(10_000, 3));
    const { digestHex } = (await writer.finish())!;
    const bytes = store.readBlob(digestHex);
    const kept = Math.min(to, 100);
    const expected = [Buffer.alloc(kept, 2), Buffer.alloc(to - kept), Buffer.alloc(10_000, 3)];
    assert.ok(bytes.subarray(0, to + 10_000).equals(Buffer.concat(expected)));
    assert.equal(await store.verifyBlob(digestHex), "good");
  }
});

test("holes that are hashed late, from the file, are zeros", async () => {
  const writer = store.createBlob();
  for (let i = 1; i <= 30; i++) {
    writer.begin(SEGMENT_BYTES);
    writer.write(Buffer.alloc((i % 3) * 700_000 + 10_000, i));
  }
  assert.ok(writer.syncWrites > 10);
  assert.equal(await store.verifyBlob((await writer.finish())!.digestHex), "good");
});

test("every buffer goes back to the pool", async () => {
  let out = 0;
  class CountingPool extends BufferPool {
    override take(): Uint8Array {
      out++;
      return super.take();
    }
    override give(buffer: Uint8Array): void {
      out--;
      super.give(buffer);
    }
  }
  const commit = { done: async (file: BlobFile) => commit.drop(file), drop: (file: BlobFile) => file.close() };
  for (const end of ["finish", "abort"] as const) {
    const file = BlobFile.create(join(root, "tmp", end), true);
    const writer = new BlobWriter(file, new Segments(file, new CountingPool()), 100 * MIB, commit);
    for (const to of [9 * MIB, 16 * MIB, 17 * MIB]) {
      for (let i = 0; i < 10; i++) if (writer.write(Buffer.alloc(MIB, i))) await writer.drain();
      writer.rewind(Math.max(to, writer.floor));
      assert.ok(out <= 8);
    }
    await writer[end]();
    assert.equal(out, 0);
    rmSync(file.path);
  }
});

test("the same content again leaves the file that is there", async () => {
  const first = await store.putBytes(Buffer.from("twice"));
  const { ino } = statSync(store.blobPath(first.digestHex));
  assert.deepEqual(await store.putBytes(Buffer.from("twice")), first);
  assert.equal(statSync(store.blobPath(first.digestHex)).ino, ino);
  assert.deepEqual(tmpFiles(), []);
});

test("a blob of nothing is none", async () => {
  const writer = store.createBlob();
  writer.begin(SEGMENT_BYTES);
  writer.write(new Uint8Array(0));
  assert.equal(await writer.finish(), undefined);
  const rewound = store.createBlob();
  rewound.write(Buffer.from("x"));
  rewound.rewind(0);
  assert.equal(await rewound.finish(), undefined);
  assert.deepEqual(tmpFiles(), []);
  await assert.rejects(store.putBytes(new Uint8Array(0)), RangeError);
});

test("the size limit holds to the byte, holes counted", async () => {
  const writer = store.createBlob({ maxBytes: 2 * MIB + 10 });
  writer.write(Buffer.alloc(1));
  writer.begin(SEGMENT_BYTES);
  writer.write(Buffer.alloc(10));
  assert.throws(() => writer.write(Buffer.alloc(1)), { code: "ERR_STORE_LIMIT", message: /limit of 2097162 bytes/ });
  await writer.abort();
  assert.deepEqual(tmpFiles(), []);
});

test("rewind reaches 4 MiB back and not past what is on its way to the disk", async () => {
  const writer = store.createBlob();
  for (let i = 0; i < 20; i++) if (writer.write(Buffer.alloc(MIB, i))) await writer.drain();
  assert.ok(writer.floor > 0 && writer.floor <= 16 * MIB);
  const { floor } = writer;
  assert.throws(() => writer.rewind(floor - 1), RangeError);
  assert.throws(() => writer.rewind(20 * MIB + 1), RangeError);
  writer.rewind(floor);
  assert.equal(writer.position, floor);
  await writer.abort();
});

test("reads are confined to what was written", async () => {
  const writer = store.createBlob();
  writer.write(Buffer.alloc(5000, 9));
  assert.throws(() => writer.read(0, 5001), RangeError);
  assert.throws(() => writer.read(-1, 1), RangeError);
  assert.throws(() => writer.sameBytes(0, 4000, 1001), RangeError);
  assert.equal(writer.sameBytes(0, 4000, 1000), true);
  await writer.abort();
});

test("an aborted or finished writer takes no more, and abort may come again", async () => {
  const writer = store.createBlob();
  for (let i = 0; i < 30; i++) writer.write(Buffer.alloc(MIB, i));
  assert.ok(writer.syncWrites > 0, "without a drain, write waits for the disk itself");
  assert.equal(tmpFiles().length, 1);
  await writer.abort();
  await writer.abort();
  assert.deepEqual(tmpFiles(), []);
  assert.throws(() => writer.write(Buffer.alloc(1)), /after finish or abort/);
  await assert.rejects(writer.drain(), /after finish or abort/);
  await assert.rejects(writer.finish(), /after finish or abort/);
});
