import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { parseSource } from "../names/index.ts";
import {
  buildTar,
  compareTrees,
  describeImage,
  describeTree,
  fsckErofs,
  mountImage,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";
import { convertImage } from "./convert.ts";
import { exportDirectory, exportSingle } from "./export.ts";
import { randomImage } from "./testing-random-image.ts";

// Random layers, through archive, conversion, merge and export, against a model: by the kernel and by our reader.
// RANDOM_IMAGE_SEED=N tries that one alone, RANDOM_IMAGE_COUNT=N more of them.

const SEED = Number(process.env.RANDOM_IMAGE_SEED ?? 1);
const COUNT = process.env.RANDOM_IMAGE_SEED ? 1 : Number(process.env.RANDOM_IMAGE_COUNT ?? 12);

for (let seed = SEED; seed < SEED + COUNT; seed++)
  test(`random image ${seed}`, async (t) => {
    const directory = tempDir(t);
    const at = (name: string) => join(directory, name);
    const { layers, tree } = randomImage(seed);
    await writeOciLayout(at("layout"), "random", layers.map(buildTar));
    const { signal } = new AbortController();
    const { record } = await convertImage(parseSource(`oci:${at("layout")}:random`), {
      storeRoot: at("store"),
      layer: { inlineTails: seed % 3 === 0 },
    });
    const metaPath = await exportDirectory(at("store"), record, at("export"), signal);
    const { path: flatPath } = await exportSingle(at("store"), record, at("flat.erofs"), signal);
    const devicePaths = record.blobs.map(({ digestHex }) => join(at("export"), "blobs/sha256", digestHex));

    assert.deepEqual(compareTrees(tree, describeImage(metaPath, devicePaths)), [], "our reader");
    assert.deepEqual(compareTrees(tree, describeTree(mountImage(t, { metaPath, devicePaths }))), [], "kernel");
    const flat = { metaPath: flatPath, devicePaths: [], backing: "loop" } as const;
    assert.deepEqual(compareTrees(tree, describeTree(mountImage(t, flat))), [], "kernel, flat image");
    await fsckErofs(metaPath, devicePaths);
  });
