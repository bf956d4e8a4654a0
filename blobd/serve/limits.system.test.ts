import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { layerOf, makeTestBlob, startBlobServer } from "../fetch/testing.ts";
import { Store } from "../store/index.ts";
import { mount, unmount } from "../sys/index.ts";
import { startTestService } from "./testing.ts";

// Where it gets tight: a disk that is full, a store that is to stay small, many readers.

const CHUNK = 64 << 10;
const CHUNKS = 64;
const blob = await makeTestBlob(CHUNKS, CHUNK);

test("on a full disk what is there is read, the rest fails with ENOSPC, and comes when there is room", async (t) => {
  const disk = mkdtempSync(join(tmpdir(), "serve-full-"));
  mount({ type: "tmpfs", source: "tmpfs", target: disk, options: ["size=6m"] });
  t.after(() => {
    unmount(disk, { lazy: true });
    rmSync(disk, { recursive: true });
  });
  const folder = join(disk, "folder");
  mkdirSync(folder);
  const filler = join(disk, "filler");
  writeFileSync(filler, Buffer.alloc(4 << 20));
  const { ask } = await startTestService(t, blob, {}, undefined, { folder });
  const file = await open((await ask()).served[0]!.path, "r");
  t.after(() => file.close());
  const into = Buffer.alloc(CHUNK);
  const read = async (chunk: number) => {
    await file.read(into, 0, CHUNK, chunk * CHUNK);
    assert.ok(into.equals(blob.content.subarray(chunk * CHUNK, (chunk + 1) * CHUNK)), `chunk ${chunk}`);
  };
  let full = 0;
  await assert.rejects(
    async () => {
      for (; full < CHUNKS; full++) await read(full);
    },
    { code: "ENOSPC" },
  );
  assert.ok(full > 10 && full < CHUNKS, `${full} chunks found room`);
  for (const chunk of [0, full - 1]) await read(chunk);
  await assert.rejects(read(full), { code: "ENOSPC" });
  rmSync(filler);
  for (let chunk = 0; chunk < CHUNKS; chunk++) await read(chunk);
});

test("a store that is to stay small loses what nobody uses, while it serves; never what is in use", async (t) => {
  const others = await Promise.all([1, 2].map(() => makeTestBlob(CHUNKS, CHUNK)));
  const maxBytes = 6 << 20;
  const { ask, root } = await startTestService(t, blob, {}, undefined, { maxBytes, evictEveryMs: 100 });
  const used = await ask();
  const readAll = async (path: string, content: Buffer) => {
    const file = await open(path, "r");
    try {
      // From behind and not the first chunk: nothing is read ahead, it stays partial.
      for (let at = content.length - CHUNK; at > 0; at -= CHUNK) {
        const { buffer } = await file.read(Buffer.alloc(4096), 0, 4096, at);
        assert.ok(buffer.equals(content.subarray(at, at + 4096)), `at ${at}`);
      }
    } finally {
      await file.close();
    }
  };
  await readAll(used.served[0]!.path, blob.content);
  const store = await Store.open(root);
  t.after(() => store.close());
  const names = () => store.partials.list().map(({ contentHex }) => contentHex);
  // Those that come and go.
  for (const other of others) {
    const server = await startBlobServer(t, other.stored);
    const client = await ask(false, layerOf(other), {
      endpoints: [{ origin: server.origin, host: "test", prefix: "" }],
    });
    await readAll(client.served[0]!.path, other.content);
    await sleep(300);
    assert.ok(names().includes(other.source.contentHex), "over the limit, but in use");
    client.end();
    for (let i = 0; i < 300 && names().includes(other.source.contentHex); i++) await sleep(20);
    assert.deepEqual(names(), [blob.source.contentHex]);
  }
  await readAll(used.served[0]!.path, blob.content);
  // Complete, and held by a client.
  const whole = await ask(true);
  await sleep(300);
  assert.ok(existsSync(whole.served[0]!.path));
  assert.ok(readFileSync(whole.served[0]!.path).equals(blob.content));
});

/** 64 readers, each of which reads a page of every chunk, in an order of its own. Says how long the longest read took, in ms. */
const READERS = `
  const { open } = require("node:fs/promises");
  const [, path, chunks, chunk] = process.argv;
  let longest = 0;
  (async () => {
    const file = await open(path, "r");
    await Promise.all(Array.from({ length: 64 }, async (_, reader) => {
      for (let i = 0; i < chunks; i++) {
        const at = ((i * 37 + reader * 11) % chunks) * chunk + 4096 * (reader % (chunk / 4096));
        const start = performance.now();
        await file.read(Buffer.alloc(4096), 0, 4096, at);
        longest = Math.max(longest, performance.now() - start);
      }
    }));
    console.log(longest.toFixed(0));
  })();`;

test("64 readers of a blob that is not there: none waits for a second", async (t) => {
  const { ask, server, serving } = await startTestService(t, blob, { giveUpMs: 30_000, stallMs: 10_000 });
  server.fault = (request, response) => {
    setTimeout(() => server.serve(request, response), 10);
    return true;
  };
  const { path } = (await ask()).served[0]!;
  const child = spawn(process.execPath, ["-e", READERS, path, String(CHUNKS), String(CHUNK)], {
    env: { ...process.env, UV_THREADPOOL_SIZE: "64" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (piece) => {
    said += piece;
  });
  await new Promise((resolve) => child.once("close", resolve));
  t.diagnostic(`the longest of ${64 * CHUNKS} reads took ${said.trim()} ms`);
  assert.ok(Number(said) > 0 && Number(said) < 1000, `${said.trim()} ms`);
  assert.equal(serving.service.totals.chunks, CHUNKS);
});
