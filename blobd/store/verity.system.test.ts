import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Random } from "../../formats/bytes/testing.ts";
import { SEGMENT_BYTES } from "./buffer-pool.ts";
import { type FinishedBlob, Store, StoreError, verityRootOf } from "./index.ts";

// Blobs with hash trees, judged by veritysetup.

const root = mkdtempSync(join(tmpdir(), "store-verity-"));
let store: Store;
before(async () => {
  store = await Store.open(root);
});
after(() => {
  store.close();
  rmSync(root, { recursive: true, force: true });
});

function randomBytes(length: number): Buffer {
  const random = new Random(length);
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(random.below(0x1_0000_0000), at);
  return bytes;
}

function veritysetup(path: string, { verity }: Pick<FinishedBlob, "verity">) {
  const offset = `--hash-offset=${verity!.dataBlocks * 4096}`;
  return spawnSync("veritysetup", ["verify", path, path, verity!.rootHex, offset], { encoding: "utf8" });
}

for (const [length, why] of [
  [1, "one block: there is no tree"],
  [128 * 4096, "one block of digests"],
  [129 * 4096, "two levels"],
  [SEGMENT_BYTES - 1, "the tree starts a segment"],
  [SEGMENT_BYTES + 1, "a segment and a bit"],
  [20 * SEGMENT_BYTES, "more than all buffers"],
  [128 * 128 * 4096 + 5, "three levels"],
] as const)
  test(`veritysetup accepts ${length} bytes: ${why}`, async () => {
    const blob = await store.putBytes(randomBytes(length), { verity: true });
    assert.equal(blob.verity!.dataBlocks, Math.ceil(length / 4096));
    assert.equal(blob.dataBlocks, blob.verity!.dataBlocks);
    assert.equal(blob.size % SEGMENT_BYTES, 0);
    const path = store.blobPath(blob.digestHex);
    const { status, stderr } = veritysetup(path, blob);
    assert.equal(status, 0, stderr);
    assert.equal(createHash("sha256").update(readFileSync(path)).digest("hex"), blob.digestHex);
    assert.equal(await verityRootOf(path, blob.verity!.dataBlocks), blob.verity!.rootHex, "as read back");
  });

test("a blob that was taken back in part, with holes, by a caller who never drains", async () => {
  const writer = store.createBlob({ verity: true });
  writer.write(randomBytes(100));
  writer.begin(SEGMENT_BYTES);
  writer.write(randomBytes(3 * SEGMENT_BYTES));
  writer.rewind(SEGMENT_BYTES * 2 + 17);
  writer.begin(SEGMENT_BYTES);
  for (let i = 0; i < 12; i++) writer.write(randomBytes(SEGMENT_BYTES + i));
  assert.ok(writer.syncWrites > 0, "the buffers did not suffice");
  const blob = (await writer.finish())!;
  const { status, stderr } = veritysetup(store.blobPath(blob.digestHex), blob);
  assert.equal(status, 0, stderr);
});

test("one flipped bit, of data or of the tree, and veritysetup refuses", async () => {
  const blob = await store.putBytes(randomBytes(3_000_000), { verity: true });
  for (const position of [0, 2_999_999, (blob.verity!.dataBlocks + 1) * 4096]) {
    const copy = join(root, "copy");
    copyFileSync(store.blobPath(blob.digestHex), copy);
    execFileSync("chmod", ["u+w", copy]);
    const byte = readFileSync(copy)[position]!;
    writeSync(openSync(copy, "r+"), Uint8Array.of(byte ^ 4), 0, 1, position);
    assert.notEqual(veritysetup(copy, blob).status, 0);
    const { dataBlocks, rootHex } = blob.verity!;
    assert.equal((await verityRootOf(copy, dataBlocks)) === rootHex, position >= dataBlocks * 4096);
    rmSync(copy);
  }
});

test("a file that is shorter than its data is told so", async () => {
  const blob = await store.putBytes(Buffer.alloc(10), { verity: true });
  await assert.rejects(
    verityRootOf(store.blobPath(blob.digestHex), 100_000),
    (error: unknown) => error instanceof StoreError && /ends at 2097152, in its data/.test(error.message),
  );
});

test("the superblock tells veritysetup all of it, and equal data have equal bytes", async () => {
  const bytes = randomBytes(1_000_000);
  const blob = await store.putBytes(bytes, { verity: true });
  const path = store.blobPath(blob.digestHex);
  const dump = execFileSync("veritysetup", ["dump", path, `--hash-offset=${blob.verity!.dataBlocks * 4096}`], {
    encoding: "utf8",
  });
  assert.match(dump, /Hash type:\s+1\n/);
  assert.match(dump, /Data blocks:\s+245\n/);
  assert.match(dump, /Data block size:\s+4096\nHash blocks:\s+3\nHash block size:\s+4096\nHash algorithm:\s+sha256\n/);
  assert.match(dump, /Salt:\s+0{64}\n/);
  assert.deepEqual(await store.putBytes(bytes, { verity: true }), blob);
  const plain = await store.putBytes(bytes);
  assert.equal(plain.verity, undefined);
  assert.notEqual(plain.digestHex, blob.digestHex);
});
