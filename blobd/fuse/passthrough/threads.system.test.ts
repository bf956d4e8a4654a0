import assert from "node:assert/strict";
import { constants, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Random } from "../../../formats/bytes/testing.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughShared } from "./index.ts";
import { Client, Refused } from "./testing.ts";

const { O_RDWR, O_CREAT, O_RDONLY } = constants;
const ROOT = 1;
const FILES = 24;
const RUN_MS = 4000;

interface Job {
  readonly config: { readonly source: string; readonly inodeFileHandles: "auto" | "never" };
  readonly shared: PassthroughShared;
  readonly seed: number;
  /** Node IDs and file handles that any thread has got, so that all use each other's. */
  readonly ids: SharedArrayBuffer;
}

if (isMainThread) runTests();
else hammer(workerData as Job);

/** Uses, forgets and releases everything that any thread has, at random. A wrong byte or an unknown error ends it. */
function hammer({ config, shared, seed, ids: idsBuffer }: Job): void {
  const client = new Client(openPassthrough(config, shared));
  const random = new Random(seed);
  const ids = new Float64Array(idsBuffer);
  const counts: Record<string, number> = {};
  const until = Date.now() + RUN_MS;
  while (Date.now() < until)
    for (let i = 0; i < 100; i++) {
      const index = random.below(FILES);
      const [nodeId, fh] = [ids[2 * index]!, ids[2 * index + 1]!];
      const action = random.of([
        "lookup",
        "open",
        "read",
        "stat",
        "forget",
        "release",
        "list",
        "create",
        "write",
      ] as const);
      try {
        if (action === "lookup") ids[2 * index] = client.lookup(ROOT, `f${index}`).nodeId;
        else if (action === "open") {
          ids[2 * index + 1] = client.open(nodeId, O_RDWR);
          client.release(nodeId, fh);
        } else if (action === "read") {
          const data = client.read(nodeId, fh, 0, 100).toString();
          assert.ok(data === "" || data === `content of f${index}`, `f${index} reads '${data}'`);
        } else if (action === "stat") client.getattr(nodeId, random.chance(50) ? fh : undefined);
        else if (action === "forget") client.forget(nodeId, 1 + random.below(3));
        else if (action === "release") client.release(nodeId, fh);
        else if (action === "list") {
          for (const name of client.list(ROOT, { plus: random.chance(50), bytes: 600 })) assert.match(name, /^f\d+$/);
        } else if (action === "create") {
          const made = client.create(ROOT, `f${index}`, O_RDWR | O_CREAT);
          ids[2 * index] = made.nodeId;
          ids[2 * index + 1] = made.fh;
          client.release(nodeId, fh);
        } else client.write(nodeId, fh, 0, Buffer.from(`content of f${index}`));
        counts[action] = (counts[action] ?? 0) + 1;
      } catch (error) {
        // Gone, or never there: what the others do. Anything else is a bug.
        if (!(error instanceof Refused) || ![2, 9, 23, 116].includes(error.errno)) throw error;
        counts[`${action} refused`] = (counts[`${action} refused`] ?? 0) + 1;
      }
    }
  parentPort!.postMessage(counts);
}

function runTests(): void {
  for (const inodeFileHandles of ["auto", "never"] as const)
    test(`threads that forget and release what others use, inodes by ${inodeFileHandles}`, async (t) => {
      const source = mkdtempSync(join(tmpdir(), "passthrough-threads-"));
      after(() => rmSync(source, { recursive: true }));
      for (let i = 0; i < FILES; i++) writeFileSync(join(source, `f${i}`), `content of f${i}`);
      const config = { source, inodeFileHandles };
      const before = readdirSync("/proc/self/fd").length;
      const shared = createPassthroughShared(config);
      const ids = new SharedArrayBuffer(16 * FILES);
      const results = await Promise.all(
        [1, 2, 3].map(
          (seed) =>
            new Promise<Record<string, number>>((done, failed) => {
              const job: Job = { config, shared, seed, ids };
              const worker = new Worker(new URL(import.meta.url), { workerData: job });
              worker.once("message", done).once("error", failed);
            }),
        ),
      );
      for (const counts of results)
        for (const action of ["lookup", "open", "read", "forget", "release", "write"])
          assert.ok((counts[action] ?? 0) > 100, `${action}: ${JSON.stringify(counts)}`);
      t.diagnostic(JSON.stringify(results[0]));
      const client = new Client(openPassthrough(config, shared));
      const { nodeId } = client.lookup(ROOT, "f0");
      const fh = client.open(nodeId, O_RDONLY);
      assert.equal(client.read(nodeId, fh, 0, 99).toString(), "content of f0");
      closePassthroughShared(config, shared);
      assert.ok(readdirSync("/proc/self/fd").length <= before + 8, "no descriptor is left behind");
    });
}
