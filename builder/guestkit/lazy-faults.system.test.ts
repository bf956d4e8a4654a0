import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Lease, openLazy } from "../lazy/index.ts";
import { parseSource } from "../names/index.ts";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  type Registry,
  type RegistryProxy,
  type Server,
  startRegistry,
  startRegistryProxy,
  startServer,
  writeOciLayout,
} from "../testkit/index.ts";
import { ShellGuest, VIRTIO_FS } from "./index.ts";

/*
 * One guest of an image that is not here, while its registry fails in every way and `blobd serve` is killed. It has the image
 * twice: as its root, by virtio-pmem, where a read is a page fault of QEMU's; and as imagefs over virtio-fs, where it is a
 * request. What it reads is right, or fails; the tests depend on each other.
 */

const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const MAIN = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
const KIB = 1024;
/** Most lie in one chunk, of 64 KiB. */
const FILE_BYTES = 16 * KIB;
const FILES = 640;
/** Only every sixteenth is read: what a page fault reads does not reach there. */
const STEP = 16;
/** Longer than the longest pause between two attempts, which is 5 s. */
const GIVE_UP_SECONDS = 8;
const contents = Array.from({ length: FILES }, () => randomBytes(FILE_BYTES));
const sums = contents.map((content) => createHash("sha256").update(content).digest("hex"));
const APPLETS = ["sh", "sha256sum", "mount"];

const directory = mkdtempSync(join(tmpdir(), "erofsify-lazy-faults-"));
const at = (name: string) => join(directory, name);
const servers: Server[] = [];
let registry: Registry;
let proxy: RegistryProxy;
let guest: ShellGuest;
let keeper: Server;
let lease: Lease | undefined;

before(async () => {
  registry = await startRegistry();
  proxy = await startRegistryProxy(registry.host);
  const reference = `${proxy.host}/test/faults:erofs`;
  const folders = ["data/", "dev/", "proc/", "sys/", "tmp/", "mnt/"].map((name) => ({ name, type: "5" }));
  const files = contents.map((content, i) => ({ name: `data/${i}`, content }));
  await writeOciLayout(at("layout"), "v", [buildTar([...busyboxLayer(APPLETS), ...folders, ...files])], {});
  const args = ["push", "--chunk-size", "64KiB", "--store", at("pushed"), `oci:${at("layout")}:v`, "--to", reference];
  const { status, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);

  const start = async (args: readonly string[], ready: RegExp) => {
    servers.unshift(await startServer(process.execPath, args, ready));
    return servers[0]!;
  };
  const [store, folder, socket] = [at("store"), at("image"), at("fs.sock")];
  const patience = ["--give-up", String(GIVE_UP_SECONDS), "--read-ahead", "0"];
  keeper = await start([BLOBD, "serve", "--store", store, ...patience, "--log-level", "error"], /"socket"/);
  await start([MAIN, "lease", "--store", store, reference, folder], /until/);
  const virtiofs = ["virtiofs", "--socket-path", socket, "--tag", "image", "--image", folder, "--store", store];
  await start([BLOBD, ...virtiofs], /listening/);
  const lazy = await openLazy(parseSource(reference), { storeRoot: store, signal: new AbortController().signal });
  lease = lazy.lease;
  guest = await ShellGuest.boot({
    storeRoot: store,
    image: lazy.image,
    memoryBytes: 256 << 20,
    cpus: 2,
    devices: [
      ...["-chardev", `socket,id=fs,path=${socket}`],
      ...["-device", "vhost-user-fs-pci,chardev=fs,tag=image,queue-size=1024"],
    ],
    needs: [VIRTIO_FS],
    timeoutMs: 200_000,
    env: { ...process.env, ...(await guestEnvironment()) },
  });
  await guest.shell("mount -t virtiofs -o ro image /mnt");
});
after(async () => {
  await guest?.end().catch(() => {}); // It has ended with its VMM.
  lease?.end();
  for (const server of servers) await server.stop();
  await proxy.stop();
  await registry.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  for (let i = 0; i < 100 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

/** The next file that nobody has read. */
let nextFile = 0;
const cold = () => (nextFile += STEP);
const PMEM = "/data";
const IMAGEFS = "/mnt/data";

/** Has the guest read files, all at once, and compares them. @returns how long it took, in ms */
async function read(...paths: readonly string[]): Promise<number> {
  const startMs = performance.now();
  // In the background a failure would not be told.
  const [first, ...others] = paths;
  const said = await guest.shell(`${others.map((path) => `sha256sum ${path} &`).join(" ")} sha256sum ${first} && wait`);
  const tookMs = performance.now() - startMs;
  const found = said.trim().split("\n").sort();
  const expected = paths.map((path) => `${sums[Number(path.slice(path.lastIndexOf("/") + 1))]}  ${path}`).sort();
  assert.deepEqual(found, expected);
  return tookMs;
}

/** Two files that nobody has read, one by each way. */
const both = () => [`${PMEM}/${cold()}`, `${IMAGEFS}/${cold()}`] as const;

function tell(t: TestContext, what: string, ms: number): void {
  t.diagnostic(`${what}: ${ms.toFixed(0)} ms`);
}

test("errors, broken transfers, wrong bits, a slow line, tokens that expire: the guest reads right", async (t) => {
  tell(t, "as it should be", await read(...both()));
  for (const [fault, times] of [
    ["error", 3],
    ["truncate", 2],
    ["flip", 2],
  ] as const) {
    Object.assign(proxy, { fault, times });
    tell(t, `${fault}, ${times} times`, await read(...both()));
    assert.ok(proxy.times < 0, `${fault} was met`);
  }
  Object.assign(proxy, { fault: { bytesPerSecond: 10 * KIB }, times: Number.POSITIVE_INFINITY });
  tell(t, "10 KiB/s", await read(...both()));
  Object.assign(proxy, { fault: "none", tokenMs: 300 });
  for (let i = 0; i < 3; i++) {
    tell(t, "a new token", await read(...both()));
    await sleep(350);
  }
  assert.ok(proxy.tokens >= 3, `${proxy.tokens} tokens`);
  proxy.tokenMs = undefined;
});

test("blobd's working process is killed while the guest reads: it waits, and reads right", async (t) => {
  const { pid } = keeper.child;
  const worker = () => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
  // Slow enough to be in the middle of it.
  proxy.fault = { bytesPerSecond: 64 * KIB };
  for (let kill = 0; kill < 2; kill++) {
    const reading = read(...both());
    await sleep(400);
    const killed = worker();
    process.kill(killed, "SIGKILL");
    const killedMs = performance.now();
    await reading;
    tell(t, "killed in the middle of a transfer of 1 s: from there to the end of both", performance.now() - killedMs);
    assert.notEqual(worker(), killed);
  }
  proxy.fault = "none";
  process.kill(worker(), "SIGKILL");
  tell(t, "killed before: until both are read", await read(...both()));
  tell(t, "the next", await read(...both()));
});

test("the registry is down: the guest reads what is here, waits, fails in time by imagefs, and reads on when it is up", async (t) => {
  const warm = both();
  await read(...warm);
  proxy.fault = "down";
  setTimeout(() => {
    proxy.fault = "none";
  }, 2000);
  tell(t, "down for 2 s", await read(...both()));
  proxy.fault = "down";
  await guest.dropCaches();
  tell(t, "warm, while it is down", await read(...warm));
  const lost = `${IMAGEFS}/${cold()}`;
  const startMs = performance.now();
  await assert.rejects(read(lost), /Input\/output error/);
  const failedMs = performance.now() - startMs;
  tell(t, "imagefs, down: the read failed after", failedMs);
  assert.ok(failedMs > 1500 && failedMs < 1000 * GIVE_UP_SECONDS + 10_000, `${failedMs} ms`);
  proxy.fault = "none";
  const backMs = performance.now();
  for (let isBack = false; !isBack; ) {
    isBack = await read(lost).then(
      () => true,
      () => sleep(200, false),
    );
    assert.ok(performance.now() - backMs < 15_000, "it is up, and is not asked");
  }
  tell(t, "up again: read after", performance.now() - backMs);
});

test("the registry is down and a page of the guest's memory cannot come: its VMM ends in time", async (t) => {
  proxy.fault = "down";
  const startMs = performance.now();
  const error = await read(`${PMEM}/${cold()}`).then(
    () => assert.fail("it was read"),
    (reason: Error) => reason,
  );
  assert.match(error.message, /the guest ended without an exit status/);
  const endedMs = performance.now() - startMs;
  tell(t, "pmem, down: the guest ended after", endedMs);
  assert.ok(endedMs < 1000 * GIVE_UP_SECONDS + 10_000, `${endedMs} ms`);
});
