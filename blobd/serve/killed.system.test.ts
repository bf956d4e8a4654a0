import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { formatServeRequest, parseServed, type ServedBlob } from "../../formats/control/index.ts";
import { layerOf, makeTestBlob, startBlobServer } from "../fetch/testing.ts";
import { attach } from "../fuse/device/index.ts";
import { Store } from "../store/index.ts";
import { unmount } from "../sys/index.ts";

// `blobd serve` as a process that is killed while it fetches, and started again.

const MAIN = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const blob = await makeTestBlob(256);
const layer = layerOf(blob);

async function startBlobd(t: TestContext, root: string, ...options: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, "serve", "--store", root, "--log-level", "error", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, HOME: "/nonexistent", XDG_RUNTIME_DIR: "/nonexistent" },
  });
  t.after(() => {
    const serving = isRunning(child.pid!) ? childrenOf(child.pid!) : [];
    for (const pid of [child.pid!, ...serving]) if (isRunning(pid)) process.kill(pid, "SIGKILL");
  });
  const ended = once(child, "close").then(() => assert.fail("it ended before it served"));
  await Promise.race([once(child.stdout!, "data"), ended]);
  ended.catch(() => {});
  return child;
}

async function ask(t: TestContext, root: string, origin: string): Promise<{ socket: Socket; served: ServedBlob }> {
  const socket = connect(join(root, "blobd.sock"));
  t.after(() => socket.destroy());
  const endpoints = [{ origin, host: "test", prefix: "" }];
  socket.write(formatServeRequest({ endpoints, repository: "a", blobs: [{ layer, isWhole: false }] }));
  const [line] = (await once(socket, "data")) as [Buffer];
  return { socket, served: (parseServed(line) as readonly ServedBlob[])[0]! };
}

/** sha256 of a file as another process reads it; of what came, when the reading failed. */
async function sumOf(path: string): Promise<string> {
  const child = spawn("sh", ["-c", 'cat "$0" | sha256sum', path], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.on("data", (piece) => {
    text += piece;
  });
  await once(child, "close");
  return text.slice(0, 64);
}

test("unsupervised, killed at any point and started again, it goes on with what it had, and all of it is right", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "killed-"));
  const root = join(folder, "store");
  const server = await startBlobServer(t, blob.stored);
  server.fault = (request, response) => {
    setTimeout(() => server.serve(request, response), 15);
    return true;
  };
  t.after(async () => {
    try {
      // Those of killed servers may lie under the last one's.
      for (;;) unmount(join(root, "serve"), { lazy: true });
    } catch {
      // Nothing is mounted there any more.
    }
    rmSync(folder, { recursive: true, force: true });
  });
  let wasComplete = false;
  const readings: Promise<string>[] = [];
  for (let run = 0; run < 8 && !wasComplete; run++) {
    const child = await startBlobd(t, root, "--no-supervised");
    // Those who read of the one before may have waited for this one: with it they get errors.
    await Promise.all(readings.splice(0));
    const { served } = await ask(t, root, server.origin);
    wasComplete = served.isComplete;
    readings.push(sumOf(served.path));
    await sleep(30 + run * 15);
    child.kill("SIGKILL");
    while (isRunning(child.pid!)) await sleep(5);
  }
  const child = await startBlobd(t, root);
  await Promise.all(readings);
  const { served } = await ask(t, root, server.origin);
  assert.equal(await sumOf(served.path), blob.source.contentHex);
  // Each killed run loses what it had in hand, nothing else.
  const asked = server.ranges.reduce(
    (sum, range) => sum + Number(range.split("-")[1]) - Number(range.split("-")[0]) + 1,
    0,
  );
  assert.ok(asked < 2.5 * blob.stored.length, `${asked} of ${blob.stored.length} bytes were asked for`);
  child.kill("SIGTERM");
  const [status] = (await once(child, "close")) as [number | null];
  assert.equal(status, 0);
});

test("it is killed again and again while others read: they wait, and read right; then it ends as it is told", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "killed-"));
  const root = join(folder, "store");
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const server = await startBlobServer(t, blob.stored);
  server.fault = (request, response) => {
    setTimeout(() => server.serve(request, response), 20);
    return true;
  };
  const keeper = await startBlobd(t, root);
  const [serving] = childrenOf(keeper.pid!);
  const { served } = await ask(t, root, server.origin);
  const readings = [1, 2].map(() => sumOf(served.path));
  const gaps: number[] = [];
  for (let kills = 0, pid = serving!; kills < 3; kills++) {
    await sleep(150);
    process.kill(pid, "SIGKILL");
    const startMs = performance.now();
    // Nobody answers at the socket now: another one must not lay its mount over the one that is taken over.
    if (kills === 0) await assertRefused(root);
    // A page that nobody has read yet: answered by whoever comes next.
    await firstByte(served.path, kills);
    gaps.push(performance.now() - startMs);
    pid = childrenOf(keeper.pid!)[0]!;
  }
  t.diagnostic(`from kill to the next answer, in ms: ${gaps.map((ms) => ms.toFixed(0)).join(", ")}`);
  for (const reading of readings) assert.equal(await reading, blob.source.contentHex);
  assert.equal(await sumOf(served.path), blob.source.contentHex);
  // Complete by now: the next client has it by its own path.
  const again = await ask(t, root, server.origin);
  assert.equal(again.served.isComplete, true);
  assert.ok(Math.max(...gaps) < 10_000);
  keeper.kill("SIGTERM");
  const [status] = (await once(keeper, "close")) as [number | null];
  assert.equal(status, 0);
  assert.deepEqual(readdirSync(join(root, "serve")), []);
});

test("when its keeper is killed too early, the process that works goes on alone, and ends as it is told", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "killed-"));
  const root = join(folder, "store");
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const server = await startBlobServer(t, blob.stored);
  const keeper = await startBlobd(t, root);
  const [serving] = childrenOf(keeper.pid!);
  const { served } = await ask(t, root, server.origin);
  keeper.kill("SIGKILL");
  await once(keeper, "exit");
  await firstByte(served.path, 1);
  await assertRefused(root);
  process.kill(serving!, "SIGTERM");
  for (let i = 0; i < 100 && isRunning(serving!); i++) await sleep(50);
  assert.deepEqual(readdirSync(join(root, "serve")), []);
  const next = await startBlobd(t, root);
  next.kill("SIGTERM");
  assert.deepEqual(await once(next, "close"), [0, null]);
});

test("a mount that a dead one has left, and that nobody answers, is taken away with those who wait for it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "killed-"));
  const root = join(folder, "store");
  const target = join(root, "serve");
  (await Store.open(root)).close();
  mkdirSync(target);
  // As when a thread of it is still in the kernel: the device is open, and nothing is read from it.
  const left = attach({ target, source: root, subtype: "blobd", readOnly: true });
  t.after(() => {
    closeSync(left.fd);
    rmSync(folder, { recursive: true, force: true });
  });
  const waiting = spawn("stat", [target], { stdio: "ignore" });
  const answered = once(waiting, "close");
  const child = await startBlobd(t, root);
  assert.deepEqual(await answered, [1, null], "who waited is told of an error");
  assert.deepEqual(readdirSync(target), []);
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "close"), [0, null]);
});

/** Another one is not started for this store, whose mount stays as it is. */
async function assertRefused(root: string): Promise<void> {
  const child = spawn(process.execPath, [MAIN, "serve", "--store", root], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const [status] = (await once(child, "close")) as [number | null];
  assert.equal(status, 1);
  assert.match(said, /another blobd serves there/);
}

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

/** Reads a page from the end of a file, another one each time, as another process. */
async function firstByte(path: string, turn: number): Promise<void> {
  const skip = blob.content.length / 4096 - 1 - 40 * turn;
  const child = spawn("dd", [`if=${path}`, "of=/dev/null", "bs=4096", "count=1", `skip=${skip}`], { stdio: "ignore" });
  const [status] = (await once(child, "close")) as [number | null];
  assert.equal(status, 0);
}
