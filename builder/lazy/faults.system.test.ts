import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { mountErofs, unmount } from "../../blobd/sys/index.ts";
import { parseSource } from "../names/index.ts";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  type Registry,
  type RegistryProxy,
  run,
  type Server,
  startRegistry,
  startRegistryProxy,
  startServer,
  writeOciLayout,
} from "../testkit/index.ts";
import { openLazy } from "./index.ts";

// An image that is read before it is here, from Debian's docker-registry, which fails in every way that it can.

const directory = mkdtempSync(join(tmpdir(), "erofsify-faults-"));
const at = (name: string) => join(directory, name);
const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const KIB = 1024;
const CHUNK = 64 * KIB;
/** Each a chunk. Only every fourth is read: what a page fault reads does not reach there. */
const FILES = 100;
const STEP = 4;
const FILE_BYTES = CHUNK;
const contents = Array.from({ length: FILES }, () => randomBytes(FILE_BYTES));
const sums = contents.map((content) => createHash("sha256").update(content).digest("hex"));
/** Longer than the longest pause between two attempts, which is 5 s. */
const GIVE_UP_SECONDS = 8;

let registry: Registry;
let proxy: RegistryProxy;
let reference: string;
const servers: Server[] = [];
/** What `blobd serve` has logged. */
let said = "";
const all: Mounted[] = [];

before(async () => {
  registry = await startRegistry();
  proxy = await startRegistryProxy(registry.host);
  reference = `${proxy.host}/test/faults:erofs`;
  const files = contents.map((content, i) => ({ name: `data/${i}`, content }));
  const layer = [...busyboxLayer(["sh", "sha256sum"]), { name: "data/", type: "5" }, ...files];
  await writeOciLayout(at("layout"), "v", [buildTar(layer)], {});
  const args = ["push", "--json", "--chunk-size", "64KiB", "--store", at("pushed"), `oci:${at("layout")}:v`];
  const { status, stderr } = await erofsify([...args, "--to", reference]);
  assert.equal(status, 0, stderr);
});
after(async () => {
  for (const image of all) image.end();
  for (const server of servers) await server.stop();
  await proxy.stop();
  await registry.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  for (let i = 0; i < 100 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

async function serve(store: string): Promise<Server> {
  const options = ["--give-up", String(GIVE_UP_SECONDS), "--read-ahead", "0", "--log-level", "warn"];
  const server = await startServer(process.execPath, [BLOBD, "serve", "--store", at(store), ...options], /"socket"/);
  server.child.stderr!.on("data", (text: Buffer) => {
    said += text;
  });
  servers.push(server);
  return server;
}

/** An image that is mounted on this host before it is here: what the kernel reads of it, `blobd serve` fetches. */
class Mounted {
  readonly #target: string;
  readonly #end: () => void;

  private constructor(target: string, end: () => void) {
    this.#target = target;
    this.#end = end;
  }

  static async open(store: string): Promise<Mounted> {
    const signal = new AbortController().signal;
    const { image, lease } = await openLazy(parseSource(reference), { storeRoot: at(store), signal });
    const target = mkdtempSync(at("mnt-"));
    const { metaPath, devicePaths } = image;
    mountErofs({ metaPath, devicePaths, target, backing: "file" });
    const end = () => {
      unmount(target, { lazy: true });
      image.close();
      lease.end();
    };
    const mounted = new Mounted(target, end);
    all.push(mounted);
    return mounted;
  }

  /** Reads a file in a process of its own, and compares it. @returns how long it took, in ms @throws Error when it cannot be read */
  async read(file: number): Promise<number> {
    const startMs = performance.now();
    const { stdout } = await run("sha256sum", [join(this.#target, "data", String(file))]);
    assert.equal(stdout.slice(0, 64), sums[file], `/data/${file}`);
    return performance.now() - startMs;
  }

  end(): void {
    this.#end();
  }
}

/** The next file that nobody has read. */
let nextFile = STEP;
function cold(): number {
  nextFile += STEP;
  return nextFile;
}

test("whatever the registry does while an image is read, it is read right, or fails in time when there is nothing", async (t) => {
  await serve("store");
  const image = await Mounted.open("store");
  const told: string[] = [];
  const tell = (what: string, ms: number) => told.push(`${what} ${ms.toFixed(0)} ms`);
  const warm = cold();
  await image.read(warm);
  tell("as it should be", await image.read(cold()));
  for (const [fault, times] of [
    ["error", 3],
    ["truncate", 2],
    ["flip", 2],
  ] as const) {
    Object.assign(proxy, { fault, times });
    tell(`${fault}, ${times} times`, await image.read(cold()));
    assert.ok(proxy.times < 0, `${fault} was met`);
  }
  Object.assign(proxy, { fault: { bytesPerSecond: 20 * KIB }, times: Number.POSITIVE_INFINITY });
  tell("20 KiB/s", await image.read(cold()));
  Object.assign(proxy, { fault: "none", tokenMs: 300 });
  for (let i = 0; i < 3; i++) {
    await image.read(cold());
    await sleep(350);
  }
  assert.ok(proxy.tokens >= 3, `${proxy.tokens} tokens`);
  proxy.tokenMs = undefined;
  // Down for a moment: it waits. What is there is there.
  proxy.fault = "down";
  setTimeout(() => {
    proxy.fault = "none";
  }, 2000);
  said = "";
  tell("down for 2 s", await image.read(cold()).catch((error: Error) => assert.fail(`${error.message}\n${said}`)));
  proxy.fault = "down";
  tell("warm, while it is down", await image.read(warm));
  // Down for good, and back.
  const lost = cold();
  const startMs = performance.now();
  await assert.rejects(image.read(lost), /Input\/output error/);
  const failedMs = performance.now() - startMs;
  tell("down: it failed after", failedMs);
  // After 2 s when another chunk has been given up before.
  assert.ok(failedMs > 1500 && failedMs < 1000 * GIVE_UP_SECONDS + 10_000, `${failedMs} ms`);
  proxy.fault = "none";
  const backMs = performance.now();
  for (let isBack = false; !isBack; ) {
    isBack = await image.read(lost).then(
      () => true,
      () => sleep(200, false),
    );
    assert.ok(performance.now() - backMs < 15_000, "it is back, and is not asked");
  }
  tell("up again: read after", performance.now() - backMs);
  t.diagnostic(told.join("; "));
});

test("two that race over what is not there cause one download", async (t) => {
  await serve("raced");
  proxy.fault = "none";
  proxy.sent.length = 0;
  const pair = [await Mounted.open("raced"), await Mounted.open("raced")];
  const files = Array.from({ length: 12 }, (_, i) => FILES - STEP * (i + 1));
  const orders = [files, [...files].reverse()];
  await Promise.all(
    pair.map(async (image, i) => {
      for (const file of orders[i]!) await image.read(file);
    }),
  );
  const ranges = proxy.sent.toSorted((a, b) =>
    a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : a.start - b.start,
  );
  for (const [i, { digest, start }] of ranges.entries()) {
    const before = ranges[i - 1];
    assert.ok(before?.digest !== digest || before.end <= start, `bytes ${start} of ${digest} came twice`);
  }
  const fetched = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  assert.ok(fetched > files.length * FILE_BYTES, `${fetched} bytes`);
  t.diagnostic(`${fetched} bytes by ${ranges.length} requests for both`);
});
