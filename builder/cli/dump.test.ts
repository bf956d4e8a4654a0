import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { EDGE_TAG, erofsify, tempDir, writeEdgeImage } from "../testkit/index.ts";

// What `dump --extents` says of the edge image and its upper layers. A golden that changes means that the same layers
// give other bytes than before: raise LAYER_FORMAT_VERSION or IMAGE_FORMAT_VERSION with it, so that stores convert anew.
// UPDATE_GOLDENS=1 writes them; read the difference before you commit it.

/** In the source tree: this file is dist/builder/cli/dump.test.js when it runs. */
const golden = (name: string) =>
  fileURLToPath(new URL(`../../../builder/cli/goldens/${name}.golden.txt`, import.meta.url));

const directory = tempDir();
const store = join(directory, "store");
const source = `oci:${directory}/layout:${EDGE_TAG}`;
let layers: readonly { readonly meta: { readonly digestHex: string } }[];

async function succeed(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await erofsify(args, { env: { EROFSIFY_STORE: store } });
  assert.equal(status, 0, stderr);
  return stdout;
}

before(async () => {
  await writeEdgeImage(join(directory, "layout"));
  const result = JSON.parse(await succeed("--json", "--quiet", source)) as { layerDetails: typeof layers };
  layers = result.layerDetails;
});

function assertGolden(name: string, found: string): void {
  if (process.env.UPDATE_GOLDENS) writeFileSync(golden(name), found);
  assert.equal(found, readFileSync(golden(name), "utf8"));
}

test("the dump of the edge image is the golden", async () => {
  assertGolden("edge-image", await succeed("dump", "--extents", source));
});

// The bottom layer holds nothing that the image does not; these two hold every mark about the layers below.
for (const index of [1, 2])
  test(`the dump of layer ${index + 1} is the golden: whiteouts, opaque and implied directories, lower links`, async () => {
    const meta = join(store, "blobs/sha256", layers[index]!.meta.digestHex);
    assertGolden(`edge-layer-${index + 1}`, await succeed("dump", "--extents", meta));
  });

test("without --extents the dump has no places of data", async () => {
  const full = await succeed("dump", "--extents", source);
  const short = full.replace(/^#.*\n/gm, "").replace(/ extents=[^ \n]*/g, "");
  assert.equal(await succeed("dump", source), short);
});
