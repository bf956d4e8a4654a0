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

// An image that two read before it is here, from Debian's docker-registry.

const directory = mkdtempSync(join(tmpdir(), "erofsify-race-"));
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

let registry: Registry;
let proxy: RegistryProxy;
let reference: string;
const servers: Server[] = [];
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
  const options = ["--read-ahead", "0", "--log-level", "error"];
  const server = await startServer(process.execPath, [BLOBD, "serve", "--store", at(store), ...options], /"socket"/);
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

  /** Reads a file in a process of its own, and compares it. @throws Error when it cannot be read */
  async read(file: number): Promise<void> {
    const { stdout } = await run("sha256sum", [join(this.#target, "data", String(file))]);
    assert.equal(stdout.slice(0, 64), sums[file], `/data/${file}`);
  }

  end(): void {
    this.#end();
  }
}

test("two that race over what is not there cause one download", async (t) => {
  await serve("raced");
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
