import assert from "node:assert/strict";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { before, describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type FakeRegistry, fakeImage, startFakeRegistry } from "../../blobd/registry/testing.ts";
import {
  buildTar,
  type ErofsifyResult,
  type ErofsifyRun,
  erofsify,
  startErofsify,
  storeState,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Conversions that are stopped, killed, and run side by side. The registry holds a layer back until it is told to go on,
// so that whatever happens happens in the middle.

const FILES = Array.from({ length: 200 }, (_, i) => ({ name: `f${i}`, content: Buffer.alloc(50_000, `${i} `) }));
const BOTTOM = buildTar([{ name: "bottom", content: "bottom" }]);
const TOP = buildTar(FILES);
const IMAGE = fakeImage([BOTTOM, TOP]);
/** How long a conversion may take to end when it is asked to, in seconds. */
const MAX_END_SECONDS = 5;

/** A registry that sends half of the top layer and then waits. */
class SlowRegistry {
  readonly registry: FakeRegistry;
  readonly store: string;
  held: ServerResponse[] = [];
  private holding = true;

  private constructor(registry: FakeRegistry, store: string) {
    this.registry = registry;
    this.store = store;
    registry.fault = ({ url }, response) => {
      if (!this.holding || !url?.endsWith(`/blobs/${IMAGE.layers[1]}`)) return false;
      response.writeHead(200, { "content-length": TOP.length });
      response.write(TOP.subarray(0, TOP.length / 2));
      this.held.push(response);
      return true;
    };
  }

  static async start(t: TestContext): Promise<SlowRegistry> {
    return new SlowRegistry(await startFakeRegistry(t, IMAGE), join(tempDir(t), "store"));
  }

  args(...more: string[]): string[] {
    const options = ["--json", "--store", this.store, "--platform", "linux/amd64"];
    return [`${this.registry.host}/a`, ...options, ...more];
  }

  /** Starts a conversion and returns when it is in the middle of the top layer. */
  async startHeld(...more: string[]): Promise<ErofsifyRun> {
    const run = startErofsify(this.args(...more));
    for (const until = Date.now() + 20_000; this.held.length === 0; await sleep(10))
      if (Date.now() > until) throw new Error(`no request for the layer: ${(await run.result).stderr}`);
    // Let what was sent be converted, and the other layer be finished.
    await sleep(300);
    return run;
  }

  /** Sends what was held back, and holds nothing more. */
  release(): void {
    this.holding = false;
    for (const response of this.held) response.end(TOP.subarray(TOP.length / 2));
    this.held = [];
  }
}

function metaOf({ status, stdout, stderr }: ErofsifyResult): string {
  assert.equal(status, 0, stderr);
  return (JSON.parse(stdout) as { meta: { digestHex: string } }).meta.digestHex;
}

/** The merged meta that every conversion has to give in the end. */
let expectedMeta: string;

before(async () => {
  const directory = tempDir();
  await writeOciLayout(join(directory, "layout"), "whole", [BOTTOM, TOP]);
  expectedMeta = metaOf(
    await erofsify([`oci:${directory}/layout:whole`, "--json", "--store", join(directory, "store")]),
  );
});

describe("stopped", { concurrency: 2 }, () => {
  for (const [signal, threads] of [
    ["SIGINT", "1"],
    ["SIGINT", "2"],
    ["SIGTERM", "1"],
  ] as const)
    test(`by ${signal} in the middle of a layer, with ${threads} threads`, async (t) => {
      const slow = await SlowRegistry.start(t);
      const { child, result } = await slow.startHeld("--threads", threads);
      const startMs = performance.now();
      child.kill(signal);
      const { status, stdout, stderr } = await result;
      assert.ok((performance.now() - startMs) / 1000 < MAX_END_SECONDS);
      assert.deepEqual([status, stdout], [130, ""]);
      assert.match(stderr, new RegExp(`\\nerofsify: interrupted by ${signal}\\n$`));
      const { layers, images, tmp } = storeState(slow.store);
      assert.deepEqual([images, tmp], [[], []]);
      assert.ok(layers.length <= 1, "at most the layer that was complete");
      slow.release();
      assert.equal(metaOf(await erofsify(slow.args())), expectedMeta, "the next run is as if nothing had been");
    });

  test("while it waits for a manifest, and between two attempts", async (t) => {
    for (const answer of [() => {}, (response: ServerResponse) => response.writeHead(503).end()]) {
      const slow = await SlowRegistry.start(t);
      slow.registry.fault = (_, response) => {
        answer(response);
        return true;
      };
      const { child, result } = startErofsify(slow.args());
      for (; slow.registry.requests.length === 0; ) await sleep(10);
      await sleep(200);
      child.kill("SIGINT");
      const { status, stderr, seconds } = await result;
      assert.equal(status, 130, stderr);
      assert.ok(seconds < MAX_END_SECONDS);
      assert.match(stderr, /erofsify: interrupted by SIGINT\n$/);
    }
  });

  test("while it waits for another's conversion of the layer, which goes on", async (t) => {
    const slow = await SlowRegistry.start(t);
    const first = await slow.startHeld();
    const second = startErofsify(slow.args());
    let told = "";
    second.child.stderr?.on("data", (chunk) => {
      told += chunk;
    });
    for (; !told.includes("waiting for another process"); ) await once(second.child.stderr!, "data");
    const startMs = performance.now();
    second.child.kill("SIGINT");
    const { status, stderr } = await second.result;
    assert.equal(status, 130, stderr);
    assert.ok((performance.now() - startMs) / 1000 < MAX_END_SECONDS);
    slow.release();
    assert.equal(metaOf(await first.result), expectedMeta);
  });

  test("twice: the second ends it at once", async (t) => {
    const slow = await SlowRegistry.start(t);
    const { child, result } = await slow.startHeld();
    child.kill("SIGINT");
    child.kill("SIGTERM");
    const { status } = await result;
    assert.equal(status, 130);
  });
});

for (const threads of ["1", "2"])
  test(`killed in the middle of a layer, with ${threads} threads: the next run clears up and does it all`, async (t) => {
    const slow = await SlowRegistry.start(t);
    const { child, result } = await slow.startHeld("--threads", threads);
    child.kill("SIGKILL");
    assert.equal((await result).status, null);
    const { images, tmp } = storeState(slow.store);
    assert.deepEqual(images, []);
    assert.notDeepEqual(tmp, [], "it was killed in the middle");
    slow.release();
    assert.equal(metaOf(await erofsify(slow.args())), expectedMeta);
    assert.deepEqual(storeState(slow.store).tmp, []);
  });

test("two conversions of the same image at once both succeed, and each layer is converted once", async (t) => {
  const slow = await SlowRegistry.start(t);
  const first = await slow.startHeld();
  const others = [startErofsify(slow.args()), startErofsify(slow.args("--threads", "2"))];
  await sleep(700);
  slow.release();
  const results = await Promise.all([first, ...others].map(({ result }) => result));
  for (const result of results) assert.equal(metaOf(result), expectedMeta);
  const converted = results.map(({ stdout }) => (JSON.parse(stdout) as { layersConverted: number }).layersConverted);
  assert.deepEqual(converted, [2, 0, 0]);
  const requests = slow.registry.requests.filter(({ line }) => line.endsWith(`/blobs/${IMAGE.layers[1]}`));
  assert.equal(requests.length, 1, "the layer was fetched once");
  assert.deepEqual(storeState(slow.store).tmp, []);
});

test("prune says that the store is in use while a conversion runs, and changes nothing", async (t) => {
  const slow = await SlowRegistry.start(t);
  const { result } = await slow.startHeld();
  const before = storeState(slow.store);
  const pruned = await erofsify(["prune", "--store", slow.store]);
  assert.match(pruned.stderr, /^erofsify: .*in use by another process.*\n$/);
  assert.equal(pruned.status, 5);
  assert.equal((await erofsify(["prune", "--dry-run", "--store", slow.store])).status, 0, "a dry run needs no lock");
  assert.deepEqual(storeState(slow.store), before);
  slow.release();
  metaOf(await result);
});
