import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { allocAligned } from "../sys/index.ts";
import { BlobFile } from "./blob-file.ts";
import type { Order, Task } from "./store.testuser.ts";
import { Store } from "./store.ts";

const MIB = 1024 * 1024;
const KEY = "c".repeat(64);
const USER = fileURLToPath(import.meta.url.replace("system.test", "testuser"));

const folder = mkdtempSync(join(tmpdir(), "store-system-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let roots = 0;
const newRoot = (): string => join(folder, `store${roots++}`);

function order(root: string, task: Task): Order {
  return { root, key: KEY, task };
}

function startProcess(root: string, task: Task): ChildProcess {
  return fork(USER, [JSON.stringify(order(root, task))]);
}

/** What a user said, once it is done. */
async function said(user: ChildProcess | Worker): Promise<string[]> {
  const all: string[] = [];
  user.on("message", (message) => all.push(String(message)));
  const [code] = await once(user, "exit");
  assert.equal(code, 0);
  return all;
}

async function saidOnce(user: ChildProcess, message: string): Promise<void> {
  while ((await once(user, "message"))[0] !== message);
}

async function kill(user: ChildProcess): Promise<void> {
  user.kill("SIGKILL");
  await once(user, "exit");
}

test("of several processes and threads with the same layer one converts, the others find it", async () => {
  const root = newRoot();
  const processes = [startProcess(root, "convert"), startProcess(root, "convert")];
  const workers = [1, 2].map(() => new Worker(USER, { workerData: order(root, "convert") }));
  const messages = await Promise.all([...processes, ...workers].map(said));
  assert.equal(messages.flat().filter((message) => message === "converting").length, 1);
  assert.equal(messages.flat().filter((message) => message === "done").length, 4);
  const store = await Store.open(root);
  assert.notEqual(await store.getLayer(KEY), undefined);
  assert.deepEqual([readdirSync(join(root, "tmp")), readdirSync(join(root, "locks"))], [[], []]);
  store.close();
});

test("a killed conversion leaves nothing visible, its lock is free, and its files go", async () => {
  const root = newRoot();
  const user = startProcess(root, "hang");
  await saidOnce(user, "hanging");
  const store = await Store.open(root);
  let acquired = false;
  const waiting = store.withLayerLock(KEY, async () => {
    acquired = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(acquired, false, "the living one has the lock");
  assert.equal(readdirSync(join(root, "tmp")).length, 1, "opening a store in use leaves others' files alone");
  await kill(user);
  await waiting;
  assert.deepEqual(store.listBlobs(), []);
  assert.equal(await store.getLayer(KEY), undefined);
  store.close();
  const next = await Store.open(root);
  assert.deepEqual(readdirSync(join(root, "tmp")), []);
  next.close();
});

test("nothing is pruned while another process uses the store", async () => {
  const root = newRoot();
  const store = await Store.open(root);
  await store.putBytes(Buffer.from("orphan"));
  const user = startProcess(root, "hold");
  await saidOnce(user, "holding");
  await assert.rejects(store.prune(), { code: "ERR_STORE_BUSY", message: /in use by another process/ });
  assert.equal(store.listBlobs().length, 1);
  const waiting = store.prune({ waitMs: 10_000 });
  await kill(user);
  assert.equal((await waiting).blobs.length, 1);
  store.close();
});

test("no permission is an error that names the folder", async () => {
  const root = newRoot();
  (await Store.open(root)).close();
  process.seteuid!(65534);
  try {
    await assert.rejects(Store.open(root), { name: "StoreError", code: "ERR_STORE_ACCESS", message: new RegExp(root) });
    await assert.rejects(Store.open("/new-store"), { name: "StoreError", code: "ERR_STORE_ACCESS" });
  } finally {
    process.seteuid!(0);
  }
});

/** File systems to mount on a folder: [name, how, whether it takes O_DIRECT]. */
const SIZE_MIB = 48;
const image = join(folder, "ext4.img");
const mounts: [name: string, args: string[], direct: boolean][] = [
  ["ext4", ["-o", "loop", image], true],
  ["tmpfs", ["-t", "tmpfs", "-o", `size=${SIZE_MIB}m`, "none"], true],
  ["ramfs", ["-t", "ramfs", "none"], false],
];
for (const [name, args, takesDirect] of mounts)
  describe(`on ${name}`, () => {
    const at = join(folder, name);
    let store: Store;
    before(async () => {
      if (name === "ext4") {
        writeFileSync(image, "");
        truncateSync(image, SIZE_MIB * MIB);
        execFileSync("mkfs.ext4", ["-q", "-m", "0", image]);
      }
      mkdirSync(at);
      execFileSync("mount", [...args, at]);
      store = await Store.open(join(at, "store"));
    });
    after(() => {
      store.close();
      execFileSync("umount", [at]);
    });
    const leftInTmp = (): string[] => readdirSync(join(at, "store", "tmp"));

    test("blobs are whole, with or without O_DIRECT", async () => {
      const bytes = Buffer.alloc(9 * MIB + 5, "content");
      const { digestHex, size } = await store.putBytes(bytes);
      assert.equal(size, 10 * MIB);
      assert.ok(store.readBlob(digestHex).subarray(0, bytes.length).equals(bytes));
      assert.equal(await store.verifyBlob(digestHex), "good");
      rmSync(store.blobPath(digestHex));
    });

    test("what O_DIRECT refuses goes through the page cache", async () => {
      const file = BlobFile.create(join(at, "odd"), true);
      assert.equal(file.direct, takesDirect);
      const memory = allocAligned(3 * 4096).bytes.fill(5);
      // Off the alignment in memory, as the rest of a short write is; two at once, so that one finds it changed.
      await Promise.all([file.write(memory.subarray(1, 4097), 0), file.write(memory.subarray(3, 4099), 4096)]);
      if (name === "ext4") assert.equal(file.direct, false);
      file.writeSync(memory.subarray(1, 101), 8192);
      await file.seal(12288, true);
      file.close();
      assert.ok(readFileSync(join(at, "odd")).equals(Buffer.concat([Buffer.alloc(8292, 5), Buffer.alloc(3996)])));
      rmSync(join(at, "odd"));
    });

    // ramfs has no limit.
    if (name === "ramfs") return;
    for (const drains of [true, false])
      test(`a full disk is an error that says so, nothing stays (${drains ? "drained" : "not drained"})`, async () => {
        const writer = store.createBlob();
        const fill = async (): Promise<void> => {
          for (let i = 0; i < 2 * SIZE_MIB; i++) if (writer.write(Buffer.alloc(MIB, i)) && drains) await writer.drain();
          await writer.finish();
        };
        const full = {
          name: "StoreError",
          code: "ERR_STORE_FULL",
          message: /disk full, needed \d+ more bytes, \d+ are free/,
        };
        await assert.rejects(fill(), full);
        assert.throws(() => writer.write(Buffer.alloc(1)), "a writer that failed stays failed");
        await writer.abort();
        assert.deepEqual([leftInTmp(), store.listBlobs()], [[], []]);
        assert.equal((await store.putBytes(Buffer.alloc(20 * MIB, 1))).size, 20 * MIB, "the space is free again");
        rmSync(store.blobPath(store.listBlobs()[0]!));
      });

    test("on a full disk an old record stays whole", async () => {
      const { digestHex, size, blocks } = await store.putBytes(Buffer.from("meta"));
      const record = { layerDigest: `sha256:${KEY}`, meta: { digestHex, size, blocks }, stats: { files: 1 } };
      store.putLayer(KEY, record);
      const ballast = join(at, "ballast");
      assert.throws(() => writeFileSync(ballast, Buffer.alloc(SIZE_MIB * MIB)), { code: "ENOSPC" });
      const long = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`statistic ${i}`, i]));
      assert.throws(() => store.putLayer(KEY, { ...record, stats: long }), { code: "ERR_STORE_FULL" });
      assert.deepEqual(await store.getLayer(KEY), record);
      assert.deepEqual(leftInTmp(), []);
      rmSync(ballast);
    });

    test("a read-only file system is an error of permission", async () => {
      store.close();
      execFileSync("mount", ["-o", "remount,ro", at]);
      try {
        await assert.rejects(Store.open(store.root), { code: "ERR_STORE_ACCESS", message: /EROFS/ });
        await assert.rejects(Store.open(join(at, "new")), { code: "ERR_STORE_ACCESS", message: /EROFS/ });
      } finally {
        execFileSync("mount", ["-o", "remount,rw", at]);
        store = await Store.open(store.root);
      }
    });
  });
