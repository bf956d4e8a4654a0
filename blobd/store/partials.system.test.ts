import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Store } from "./index.ts";
import { chunkOf, makeBlob } from "./partials-testing.ts";

// Several processes over one blob, killed at any point.

const USER = fileURLToPath(new URL("./partials.testuser.js", import.meta.url));
/** Of a process that is to be killed, now and then: longer than the longest wait before it is. */
const PAUSE_MS = 25;
let root: string;
beforeEach(() => {
  root = join(mkdtempSync(join(tmpdir(), "partials-")), "store");
});
afterEach(() => rmSync(join(root, ".."), { recursive: true, force: true }));

interface Said {
  readonly fetching?: number;
  readonly filled?: number;
  readonly result?: string;
}

function startUser(
  seed: number,
  chunks: number,
  order: number,
  pauseMs = 0,
): { child: ChildProcess; said: Said[]; ended: Promise<void> } {
  const child = fork(USER, [root, String(seed), String(chunks), String(order), String(pauseMs)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const said: Said[] = [];
  child.on("message", (message) => said.push(message as Said));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return { child, said, ended };
}

test("three processes fill one blob: each chunk is fetched once, and it is named once", async () => {
  const chunks = 64;
  const users = [1, 2, 3].map((order) => startUser(7, chunks, order));
  await Promise.all(users.map(({ ended }) => ended));
  const fetched = users.flatMap(({ said }) =>
    said.flatMap(({ fetching }) => (fetching === undefined ? [] : [fetching])),
  );
  assert.deepEqual(
    [...fetched].sort((a, b) => a - b),
    [...Array(chunks).keys()],
  );
  const blob = makeBlob(7, chunks);
  const store = await Store.open(root);
  assert.ok(readFileSync(store.blobPath(blob.contentHex)).equals(blob.content));
  assert.equal(await store.verifyBlob(blob.contentHex), "good");
  store.close();
});

test("kill -9 at any point loses at most the chunk in flight, and never shows a wrong one", {
  timeout: 120_000,
}, async () => {
  const chunks = 200;
  const blob = makeBlob(8, chunks);
  let kills = 0;
  let lost = 0;
  const believed = new Set<number>();
  for (let run = 1; run <= 60; run++) {
    const { child, said, ended } = startUser(8, chunks, run, PAUSE_MS);
    // The first message comes when the blob is open: the wait from there is what varies.
    await Promise.race([new Promise<void>((resolve) => child.once("message", () => resolve())), ended]);
    await sleep((run * 7) % 23);
    if (child.kill("SIGKILL")) kills++;
    await ended;
    for (const { filled } of said) if (filled !== undefined) believed.add(filled);
    const store = await Store.open(root);
    const partial = await store.partials.open(blob);
    if (partial === undefined) {
      store.close();
      break;
    }
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (!partial.isPresent(chunk)) {
        if (believed.has(chunk)) lost++;
        continue;
      }
      const into = Buffer.alloc(64 << 10);
      await partial.read(into, chunk * into.length);
      assert.ok(into.equals(chunkOf(blob, chunk)), `chunk ${chunk} after run ${run}`);
    }
    partial.close();
    store.close();
  }
  assert.ok(kills >= 3, `${kills} processes were killed`);
  assert.equal(lost, 0, "what was said to be there stayed there");
  const store = await Store.open(root);
  const partial = await store.partials.open(blob);
  if (partial !== undefined) {
    for (let chunk = 0; chunk < chunks; chunk++)
      if (!partial.isPresent(chunk)) await partial.put(chunk, chunkOf(blob, chunk));
    assert.equal(await store.partials.complete(partial), "named");
    partial.close();
  }
  assert.ok(readFileSync(store.blobPath(blob.contentHex)).equals(blob.content));
  store.close();
});
