import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { mount, unmount } from "../../sys/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough } from "./index.ts";
import { Client } from "./testing.ts";

const ROOT = 1;
const NODES = 1_000_000;
const PER_DIRECTORY = 10_000;
/** Descriptors that the daemon may keep besides: those of the nodes used last. */
const KEPT = 2048 + 64;

/** The process's memory by kind, in bytes. */
function memory(): { anonymous: number; shared: number; heap: number } {
  const status = readFileSync("/proc/self/status", "latin1");
  const field = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)![1]) * 1024;
  globalThis.gc?.();
  return { anonymous: field("RssAnon"), shared: field("RssShmem"), heap: process.memoryUsage().heapUsed };
}

function descriptors(): number {
  return Number(/FDSize:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))![1]);
}

test("a million known files take 64 bytes each and no descriptors", {
  skip: process.geteuid!() !== 0 && "needs root",
}, (t) => {
  const work = mkdtempSync(join(tmpdir(), "passthrough-million-"));
  const dir = join(work, "tmpfs");
  mkdirSync(dir);
  mount({ type: "tmpfs", source: "tmpfs", target: dir, options: ["nr_inodes=0"] });
  after(() => {
    unmount(dir, { lazy: true });
    rmSync(work, { recursive: true });
  });
  const config = { source: dir, inodeFileHandles: "always" as const };
  const shared = createPassthroughShared(config);
  const client = new Client(openPassthrough(config, shared));
  const { fs } = client;
  const nodeIds = new Float64Array(NODES);

  // The same number of nodes once, so that V8 has compiled and sized what it will.
  const lookUp = (from: number, to: number) => {
    for (let d = from; d < to; d++) {
      const parent = client.lookup(ROOT, `d${d}`).nodeId;
      for (let i = 0; i < PER_DIRECTORY; i++) {
        const r = client.fill(parent, [], `f${i}`);
        assert.equal(fs.lookup(r), 0);
        nodeIds[d * PER_DIRECTORY + i] = r.out.getUint32(20, true) * 2 ** 32 + r.out.getUint32(16, true);
      }
    }
  };
  const directories = NODES / PER_DIRECTORY;
  for (let d = 0; d < directories; d++) {
    mkdirSync(join(dir, `d${d}`));
    // Links keep the files few; nodes are by inode, so each needs its own.
    for (let i = 0; i < PER_DIRECTORY; i++) writeFileSync(join(dir, `d${d}`, `f${i}`), "");
  }
  lookUp(0, 2);
  const before = memory();
  const startMs = performance.now();
  lookUp(2, directories);
  const tookMs = performance.now() - startMs;
  const grown = memory();
  const sharedPerNode = (grown.shared - before.shared) / (NODES - 2 * PER_DIRECTORY);
  t.diagnostic(
    `${sharedPerNode.toFixed(0)} bytes of shared memory a node; private memory grew by ` +
      `${((grown.anonymous - before.anonymous) / 2 ** 20).toFixed(0)} MiB; ${((tookMs / NODES) * 1000).toFixed(1)} µs a lookup`,
  );
  assert.ok(sharedPerNode < 80, `${sharedPerNode} bytes a node`);
  assert.ok(grown.anonymous - before.anonymous < 64 << 20, "what is V8's does not grow with them");
  assert.ok(descriptors() < 4 * KEPT, `${descriptors()} descriptors`);

  for (const nodeId of nodeIds) client.forget(nodeId);
  const made = client.lookup(ROOT, "d0");
  assert.ok(made.nodeId > 0);
  closePassthroughShared(config, shared);
});
