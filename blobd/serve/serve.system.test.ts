import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, statSync } from "node:fs";
import { type FileHandle, open, readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseServed, type ServedBlob } from "../../formats/control/index.ts";
import type { FetchOptions } from "../fetch/index.ts";
import { layerOf, makeTestBlob } from "../fetch/testing.ts";
import { Store } from "../store/index.ts";
import { startServing } from "./index.ts";
import { startTestService } from "./testing.ts";

// The service with its real mount, against a server of blobs that can be made to fail.

const CHUNK = 64 << 10;
const blob = await makeTestBlob(64, CHUNK);

const start = (t: TestContext, fetch: Partial<FetchOptions> = {}, idleMs?: number) =>
  startTestService(t, blob, fetch, idleMs);

async function readRange(file: FileHandle, offset: number, bytes: number): Promise<void> {
  const into = Buffer.alloc(bytes);
  const { bytesRead } = await file.read(into, 0, bytes, offset);
  assert.equal(bytesRead, bytes);
  assert.ok(into.equals(blob.content.subarray(offset, offset + bytes)), `${bytes} bytes at ${offset}`);
}

/** Runs in a process of its own: a read of our own would have to be answered by ourselves. */
function reader(path: string, command = 'cat "$0" | sha256sum'): Promise<{ text: string; status: number | null }> {
  return new Promise((resolve) => {
    const child = spawn("sh", ["-c", command, path], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (piece) => {
      text += piece;
    });
    child.once("close", (status) => resolve({ text, status }));
  });
}

test("a blob is a file of its final size, of which what is read is fetched", async (t) => {
  const { serving, server, ask } = await start(t);
  const { served } = await ask();
  const [{ path, isComplete }] = served as [ServedBlob];
  assert.equal(isComplete, false);
  assert.equal(statSync(path).size, blob.content.length);
  assert.equal((statSync(path).mode & 0o777).toString(8), "400");
  assert.deepEqual(await readdir(serving.mountPoint), [path.split("/").at(-1)]);
  const before = server.ranges.length;
  const file = await open(path, "r");
  await readRange(file, 0, 100);
  assert.equal(server.ranges.length, before + 1);
  await readRange(file, 10 * CHUNK - 50, 100);
  await readRange(file, blob.content.length - 10, 10);
  assert.ok(serving.service.totals.chunks < 20, `${serving.service.totals.chunks} chunks`);
  await file.close();
  await assert.rejects(open(path, "r+"), { code: "EROFS" });
  await assert.rejects(readFile(join(serving.mountPoint, "f".repeat(64))), { code: "ENOENT" });
  assert.equal((await reader(path)).text.slice(0, 64), blob.source.contentHex);
});

test("who has waited for a page has the rest of its chunk in the page cache", async (t) => {
  const { ask } = await start(t);
  const { path } = (await ask()).served[0]!;
  const cached = async () => Number((await reader(path, 'fincore --bytes --noheadings --output RES "$0"')).text);
  const file = await open(path, "r");
  await readRange(file, 20 * CHUNK + 4096, 10);
  // Linux reads a few pages around it by itself; the others are stored.
  for (let i = 0; i < 100 && (await cached()) < CHUNK; i++) await sleep(20);
  assert.equal(await cached(), CHUNK);
  await readRange(file, 20 * CHUNK, CHUNK);
  await file.close();
});

test("read to its end, a blob becomes a complete one of the store, and is served as such, without any traffic", async (t) => {
  const { serving, root, server, ask } = await start(t);
  const first = await ask();
  const path = first.served[0]!.path;
  const file = await open(path, "r");
  assert.equal((await reader(path)).text.slice(0, 64), blob.source.contentHex);
  for (let i = 0; i < 100 && !existsSync(join(root, "blobs/sha256", blob.source.contentHex)); i++) await sleep(20);
  const requests = server.ranges.length;
  server.stop();
  const second = await ask();
  assert.deepEqual(second.served, [{ path: join(root, "blobs/sha256", blob.source.contentHex), isComplete: true }]);
  assert.equal(createHash("sha256").update(readFileSync(second.served[0]!.path)).digest("hex"), blob.source.contentHex);
  // Who has the old file open reads on, from whatever thread.
  await Promise.all(Array.from({ length: 8 }, (_, i) => readRange(file, i * 8 * CHUNK, 4096)));
  await file.close();
  assert.equal(server.ranges.length, requests);
  first.end();
  for (let i = 0; i < 200 && serving.service.shown > 0; i++) await sleep(20);
  assert.equal(serving.service.shown, 0, "what nobody uses is let go");
});

test("what is there is served while the network is down; the rest fails in time, and comes when it is back", async (t) => {
  const { server, ask } = await start(t);
  const { served } = await ask();
  const path = served[0]!.path;
  const file = await open(path, "r");
  await readRange(file, 5 * CHUNK, CHUNK);
  server.stop();
  await readRange(file, 5 * CHUNK, CHUNK);
  const startMs = performance.now();
  await assert.rejects(readRange(file, 30 * CHUNK, 4096), { code: "EIO" });
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 500 && tookMs < 4000, `${tookMs} ms`);
  await server.restart();
  await sleep(100);
  await readRange(file, 30 * CHUNK, 4096);
  await file.close();
});

test("many readers at once: every byte is right, each chunk comes once", async (t) => {
  const { server, serving, ask } = await start(t);
  server.fault = (request, response, seen) => {
    if (seen % 7 === 3) return !!response.writeHead(500).end();
    setTimeout(() => server.serve(request, response), 5);
    return true;
  };
  const path = (await ask()).served[0]!.path;
  const sums = await Promise.all(Array.from({ length: 16 }, () => reader(path)));
  for (const { text } of sums) assert.equal(text.slice(0, 64), blob.source.contentHex);
  assert.equal(serving.service.totals.chunks, 64);
});

test("blobs come through the proxy that the service is told of", async (t) => {
  const asked: string[] = [];
  const proxy = createServer().on("connect", (request, client) => {
    asked.push(request.url!);
    const upstream = connect(Number(new URL(server.origin).port), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const env = { HOME: "/nonexistent", HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
  const { ask, server } = await startTestService(t, blob, {}, undefined, { env });
  const endpoints = [{ origin: "http://registry.invalid", host: "registry.invalid", prefix: "" }];
  const { path } = (await ask(false, undefined, { endpoints })).served[0]!;
  assert.equal((await reader(path)).text.slice(0, 64), blob.source.contentHex);
  assert.deepEqual([...new Set(asked)], ["registry.invalid:80"]);
});

test("what clients have by path is not pruned, until they are done", async (t) => {
  const { root, ask } = await start(t);
  const { end } = await ask(true);
  const store = await Store.open(root);
  await store.prune({ waitMs: 2000 });
  assert.deepEqual(store.listBlobs(), [blob.source.contentHex]);
  end();
  for (let i = 0; i < 100 && store.listHolds().length > 0; i++) await sleep(10);
  await store.prune({ waitMs: 2000 });
  assert.deepEqual(store.listBlobs(), []);
  store.close();
});

test("two services of one store cannot be; a client is told", async (t) => {
  const { root } = await start(t);
  await assert.rejects(
    startServing({ storeRoot: root, mountPoint: mkdtempSync(join(tmpdir(), "serve-mount-")), log: () => {} }),
    /another blobd serves there/,
  );
});

test("a whole blob is there when the answer comes; one that lies is refused by name", async (t) => {
  const { root, ask } = await start(t);
  const liar = { ...layerOf(blob), contentDigest: `sha256:${"a".repeat(64)}` } as const;
  await assert.rejects(ask(true, liar), /does not have the digest sha256:aaaa/);
  const { served } = await ask(true);
  assert.deepEqual(served, [{ path: join(root, "blobs/sha256", blob.source.contentHex), isComplete: true }]);
  const store = await Store.open(root);
  assert.equal(await store.verifyBlob(blob.source.contentHex), "good");
  store.close();
});

test("a reader that is killed while it waits goes at once", async (t) => {
  const { server, ask } = await start(t, { giveUpMs: 20_000, stallMs: 20_000 });
  const path = (await ask()).served[0]!.path;
  server.fault = () => true;
  const child = spawn("cat", [path], { stdio: "ignore" });
  await sleep(300);
  const startMs = performance.now();
  child.kill("SIGKILL");
  await new Promise((resolve) => child.once("close", resolve));
  assert.ok(performance.now() - startMs < 1000);
});

test("requests that are none are answered with an error, and the service goes on", async (t) => {
  const { serving, ask } = await start(t);
  for (const bad of [
    "{}\n",
    "not json\n",
    '{"version":9,"serve":{}}\n',
    `${JSON.stringify({ version: 1, serve: { endpoints: [], repository: "a", blobs: [{}] } })}\n`,
  ]) {
    const socket = connect(serving.socketPath);
    socket.write(bad);
    const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    assert.ok("error" in (parseServed(answer) as object), bad);
    socket.destroy();
  }
  connect(serving.socketPath).destroy();
  assert.equal((await ask()).served.length, 1);
});

test("it ends by itself when nobody has used it for a while", async (t) => {
  const { serving, ask } = await start(t, {}, 500);
  const { end } = await ask();
  await sleep(1700);
  assert.equal(serving.service.shown, 1);
  end();
  await serving.done;
  assert.equal(existsSync(serving.socketPath), false);
});
