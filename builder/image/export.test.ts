import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { ImageRecord } from "../../blobd/store/index.ts";
import { parseSource } from "../names/index.ts";
import { describeImage, EDGE_TAG, tempDir, writeEdgeImage } from "../testkit/index.ts";
import { convertImage } from "./convert.ts";
import { ExportError, exportDirectory, exportSingle } from "./export.ts";

const directory = tempDir();
const at = (name: string) => join(directory, name);
const { signal } = new AbortController();
let record: ImageRecord;

before(async () => {
  await writeEdgeImage(at("layout"));
  const options = { storeRoot: at("store"), layer: { inlineTails: false } };
  ({ record } = await convertImage(parseSource(`oci:${at("layout")}:${EDGE_TAG}`), options));
});

test("an export on the same file system shares the store's files, and leaves them read-only", async () => {
  const meta = await exportDirectory(at("store"), record, at("export"), signal);
  const original = join(at("store"), "blobs/sha256", record.meta.digestHex);
  assert.equal(statSync(meta).ino, statSync(original).ino);
  assert.equal(statSync(meta).mode & 0o777, 0o444);
});

test("an export on another file system is a copy", async (t) => {
  const memory = mkdtempSync("/dev/shm/erofsify-test-");
  t.after(() => rmSync(memory, { recursive: true }));
  const meta = await exportDirectory(at("store"), record, join(memory, "export"), signal);
  for (const { digestHex } of [record.meta, ...record.blobs]) {
    const copy = digestHex === record.meta.digestHex ? meta : join(memory, "export/blobs/sha256", digestHex);
    assert.ok(readFileSync(copy).equals(readFileSync(join(at("store"), "blobs/sha256", digestHex))));
  }
});

test("a flat image replaces what was there, and takes no disk for its holes", async () => {
  for (let i = 0; i < 2; i++) await exportSingle(at("store"), record, at("flat.erofs"), signal);
  assert.ok(describeImage(at("flat.erofs")).size > 400);
  const { size, blocks } = statSync(at("flat.erofs"));
  assert.ok(blocks * 512 < size / 2, `${blocks * 512} of ${size} bytes`);
});

test("a flat image with a hash tree: veritysetup accepts it, and a flipped bit no more; without its tree it is the same", async () => {
  const options = { storeRoot: at("verity-store"), layer: { inlineTails: false, verity: true } };
  const converted = await convertImage(parseSource(`oci:${at("layout")}:${EDGE_TAG}`), options);
  const { path, verity } = await exportSingle(at("verity-store"), converted.record, at("verity.erofs"), signal, {
    verity: true,
  });
  const { dataBlocks, rootHex } = verity!;
  const verify = () =>
    spawnSync("veritysetup", ["verify", path, path, rootHex, `--hash-offset=${dataBlocks * 4096}`]).status;
  assert.equal(verify(), 0);
  assert.equal(statSync(path).size % (2 << 20), 0);
  assert.deepEqual(describeImage(path), describeImage(at("flat.erofs")));
  // Trees of the blobs, which it was made of, are holes there.
  const { size, blocks } = statSync(path);
  assert.ok(blocks * 512 < size / 2, `${blocks * 512} of ${size} bytes`);
  const file = openSync(path, "r+");
  writeSync(file, Buffer.from([readFileSync(path)[5000]! ^ 1]), 0, 1, 5000);
  closeSync(file);
  assert.notEqual(verify(), 0);
});

test("an export that is interrupted leaves no file that looks whole", async () => {
  const aborted = AbortSignal.abort(new Error("enough"));
  await assert.rejects(exportSingle(at("store"), record, at("half.erofs"), aborted), /enough/);
  await assert.rejects(exportDirectory(at("store"), record, at("half"), aborted), /enough/);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.includes("half.erofs")),
    [],
  );
  assert.ok(!readdirSync(at("half"), { recursive: true }).some((name) => /erofs|tmp|\w{64}/.test(String(name))));
});

test("a place that cannot be written to is an ExportError that names it", async () => {
  const isTold = (error: unknown) => error instanceof ExportError && /^writing .*absent.*: no such/.test(error.message);
  await assert.rejects(exportSingle(at("store"), record, at("absent/flat.erofs"), signal), isTold);
  await assert.rejects(exportDirectory(at("store"), record, "/proc/absent/export", signal), isTold);
});
