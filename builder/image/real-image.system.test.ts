import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  compareTrees,
  describeTree,
  erofsify,
  fsckErofs,
  mountImage,
  pushImage,
  type Registry,
  run,
  startRegistry,
  type TreeDescription,
  tempDir,
  unpackWithUmoci,
} from "../testkit/index.ts";

// A real image of Debian packages, 10,000 files in three layers, made once a machine, against umoci's unpack.

/** This file is dist/builder/image/real-image.system.test.js when it runs. */
const MAKE_IMAGE = fileURLToPath(new URL("../../../samples/demo/make-image.sh", import.meta.url));

const directory = tempDir();
const at = (name: string) => join(directory, name);
let registry: Registry | undefined;
let expected: TreeDescription;

before(async () => {
  const layout = (await run(MAKE_IMAGE, ["small"])).stdout.trim();
  registry = await startRegistry();
  const reference = `${registry.host}/debian:demo`;
  const unpacked = unpackWithUmoci(layout, "latest", at("umoci"));
  await pushImage(layout, "latest", reference);
  const targets = ["-o", at("export"), "--single", at("flat.erofs")];
  const { status, stderr } = await erofsify(["--store", at("store"), reference, ...targets]);
  assert.equal(status, 0, stderr);
  expected = describeTree(await unpacked);
});

after(() => registry?.stop());

test("what erofsify mount shows is what umoci unpacks", async () => {
  const { status, stderr } = await erofsify(["mount", at("export"), at("mounted")]);
  assert.equal(status, 0, stderr);
  try {
    assert.ok(expected.size > 5000, `${expected.size} paths`);
    assert.deepEqual(compareTrees(expected, describeTree(at("mounted"))), []);
  } finally {
    assert.equal((await erofsify(["umount", at("mounted")])).status, 0);
  }
});

test("the kernel reads the flat image the same", (t) => {
  const mounted = mountImage(t, { metaPath: at("flat.erofs"), devicePaths: [], backing: "loop" });
  assert.deepEqual(compareTrees(expected, describeTree(mounted)), []);
});

test("both fsck.erofs accept the flat image, and the newer one reads all data", async () => {
  await fsckErofs(at("flat.erofs"));
});

test("erofsify check finds nothing", async () => {
  for (const target of [at("export"), at("flat.erofs")]) {
    const { status, stdout, stderr } = await erofsify(["check", target]);
    assert.equal(status, 0, stderr + stdout);
  }
});
