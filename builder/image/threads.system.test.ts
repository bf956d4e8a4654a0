import assert from "node:assert/strict";
import { readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { parseSource } from "../names/index.ts";
import { EDGE_TAG, tempDir, writeEdgeImage } from "../testkit/index.ts";
import { convertImage, LayerError } from "./index.ts";

// One thread is the calling one, more are workers: both ways must give the same, fail the same and stop the same.

const directory = tempDir();
const at = (name: string) => join(directory, name);
const convert = (layout: string, store: string, threads: number, signal?: AbortSignal) =>
  convertImage(parseSource(`oci:${at(layout)}:${EDGE_TAG}`), {
    storeRoot: at(store),
    layer: { inlineTails: false },
    threads,
    ...(signal && { signal }),
  });

before(async () => {
  await writeEdgeImage(at("layout"));
  await writeEdgeImage(at("damaged"));
});

test("the same image from this thread and from workers", async () => {
  const [here, workers] = await Promise.all([convert("layout", "here", 1), convert("layout", "workers", 3)]);
  assert.deepEqual(workers.record.meta, here.record.meta);
  assert.deepEqual(workers.record.blobs, here.record.blobs);
  assert.deepEqual(
    workers.layers.map(({ record }) => record.meta),
    here.layers.map(({ record }) => record.meta),
  );
});

for (const threads of [1, 3])
  test(`a layer that is cut short fails with its digest, and nothing is left in flight: ${threads}`, async () => {
    const [layer] = (await convert("layout", "here", 1)).layers;
    const path = join(at("damaged"), "blobs", "sha256", (layer?.digest ?? "").replace("sha256:", ""));
    truncateSync(path, 100);
    await assert.rejects(convert("damaged", `damaged${threads}`, threads), (error) => {
      assert.ok(error instanceof LayerError);
      assert.equal(error.layerDigest, layer?.digest);
      assert.equal(error.code, "ERR_LENGTH");
      return true;
    });
    assert.deepEqual(readdirSync(join(at(`damaged${threads}`), "tmp")), []);
  });

for (const threads of [1, 3])
  test(`an abort ends the conversion with its reason, and nothing is left in flight: ${threads}`, async () => {
    const abort = new AbortController();
    const running = convert("layout", `aborted${threads}`, threads, abort.signal);
    const reason = new Error("enough");
    setImmediate(() => abort.abort(reason));
    await assert.rejects(running, (error) => error === reason);
    assert.deepEqual(readdirSync(join(at(`aborted${threads}`), "tmp")), []);
  });
