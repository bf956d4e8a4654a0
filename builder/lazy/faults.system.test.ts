import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  buildTar,
  busyboxLayer,
  type ErofsifyRun,
  erofsify,
  guestEnvironment,
  type Registry,
  type RegistryProxy,
  type Server,
  startErofsify,
  startRegistry,
  startRegistryProxy,
  startServer,
  writeOciLayout,
} from "../testkit/index.ts";

// Guests whose registry fails while they read, guests that want the same, and guests whose blobd dies.

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
const GIVE_UP_SECONDS = 4;

let registry: Registry;
let proxy: RegistryProxy;
let env: Record<string, string>;
let reference: string;
const servers: Server[] = [];
const guests: Guest[] = [];

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
  env = await guestEnvironment();
});
after(async () => {
  for (const guest of guests) guest.run.child.kill("SIGKILL");
  for (const server of servers) await server.stop();
  await proxy.stop();
  await registry.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  for (let i = 0; i < 100 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

async function serve(store: string): Promise<Server> {
  const options = ["--give-up", String(GIVE_UP_SECONDS), "--read-ahead", "0", "--log-level", "error"];
  const server = await startServer(process.execPath, [BLOBD, "serve", "--store", at(store), ...options], /"socket"/);
  servers.push(server);
  return server;
}

/** A guest with a shell that is told line by line what to do. */
class Guest {
  readonly run: ErofsifyRun;
  #said = "";

  constructor(store: string, more: Readonly<Record<string, string>> = {}) {
    const args = ["run", "--lazy", "--quiet", "--timeout", "200", "--store", at(store), reference, "--", "sh"];
    this.run = startErofsify(args, { env: { ...env, ...more }, hasInput: true });
    guests.push(this);
    this.run.child.stdin!.on("error", () => {}); // It has ended.
    this.run.child.stdout!.on("data", (piece) => {
      this.#said += piece;
    });
  }

  /** What a command prints, up to the end of its first line. @throws Error with what became of the guest when it ends */
  async ask(command: string): Promise<string> {
    this.#said = "";
    this.run.child.stdin!.write(`${command}\n`);
    const { child, result } = this.run;
    while (!this.#said.includes("\n")) {
      if (child.exitCode !== null) throw new Error(`the guest ended with ${child.exitCode}: ${(await result).stderr}`);
      await Promise.race([once(child.stdout!, "data"), once(child, "close")]);
    }
    return this.#said.slice(0, this.#said.indexOf("\n"));
  }

  /** Reads a file, and compares it. @returns how long it took, in ms */
  async read(file: number): Promise<number> {
    const startMs = performance.now();
    assert.equal((await this.ask(`sha256sum /data/${file}`)).slice(0, 64), sums[file], `/data/${file}`);
    return performance.now() - startMs;
  }
}

/** The next file that no guest has read. */
let nextFile = STEP;
function cold(): number {
  nextFile += STEP;
  return nextFile;
}

test("whatever the registry does while a guest reads, the guest reads right, or is ended when there is nothing", async (t) => {
  await serve("store");
  const guest = new Guest("store");
  const told: string[] = [];
  const tell = (what: string, ms: number) => told.push(`${what} ${ms.toFixed(0)} ms`);
  const warm = cold();
  await guest.read(warm);
  tell("as it should be", await guest.read(cold()));
  for (const [fault, times] of [
    ["error", 3],
    ["truncate", 2],
    ["flip", 2],
  ] as const) {
    Object.assign(proxy, { fault, times });
    tell(`${fault}, ${times} times`, await guest.read(cold()));
    assert.ok(proxy.times < 0, `${fault} was met`);
  }
  Object.assign(proxy, { fault: { bytesPerSecond: 10 * KIB }, times: Number.POSITIVE_INFINITY });
  tell("10 KiB/s", await guest.read(cold()));
  Object.assign(proxy, { fault: "none", tokenMs: 300 });
  for (let i = 0; i < 3; i++) {
    await guest.read(cold());
    await sleep(350);
  }
  assert.ok(proxy.tokens >= 3, `${proxy.tokens} tokens`);
  proxy.tokenMs = undefined;
  // Down for a moment: it waits. What is there is there.
  proxy.fault = "down";
  setTimeout(() => {
    proxy.fault = "none";
  }, 2000);
  const waited = guest.read(cold());
  tell("down for 2 s", await waited);
  proxy.fault = "down";
  tell("warm, while it is down", await guest.read(warm));
  // Down for good.
  const startMs = performance.now();
  await assert.rejects(guest.read(cold()), /the guest ended/);
  const endedMs = performance.now() - startMs;
  tell("down: the guest ended after", endedMs);
  assert.ok(endedMs > 1000 * GIVE_UP_SECONDS - 500 && endedMs < 1000 * GIVE_UP_SECONDS + 8000, `${endedMs} ms`);
  proxy.fault = "none";
  t.diagnostic(told.join("; "));
});

test("two guests that race over what is not there cause one download; when blobd dies they go on with what they have", async (t) => {
  const blobd = await serve("raced");
  proxy.sent.length = 0;
  const pair = [new Guest("raced"), new Guest("raced")] as const;
  const files = Array.from({ length: 12 }, (_, i) => FILES - STEP * (i + 1));
  const orders = [files, [...files].reverse()];
  await Promise.all(pair.map((guest) => guest.ask("echo ready")));
  await Promise.all(
    pair.map(async (guest, i) => {
      for (const file of orders[i]!) await guest.read(file);
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

  blobd.child.kill("SIGKILL");
  await once(blobd.child, "close");
  await serve("raced");
  assert.ok((await pair[0].read(files[0]!)) < 2000, "what is in memory is read on");
  await assert.rejects(pair[0].read(0), /the guest ended/, "the rest was of the mount that has gone");
  // The next guest has what was there. The registry is down for it, and what it names as a mirror gives the rest.
  const mirror = await startRegistryProxy(registry.host);
  t.after(() => mirror.stop());
  mkdirSync(at("home/.config/erofsify"), { recursive: true });
  const registries = { [proxy.host]: { mirrors: [`http://${mirror.host}`] } };
  writeFileSync(at("home/.config/erofsify/config.json"), JSON.stringify({ registries }));
  proxy.fault = "down";
  const next = new Guest("raced", { HOME: at("home") });
  for (const file of files) await next.read(file);
  const before = mirror.sent.length;
  await next.read(0);
  assert.ok(before <= 3, `what has been fetched is kept: ${before} requests`);
  assert.ok(mirror.sent.length > before);
  t.diagnostic(`${fetched} bytes by ${ranges.length} requests for two guests`);
});
