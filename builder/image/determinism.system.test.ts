import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { EDGE_TAG, erofsify, storeState, tempDir, writeEdgeImage } from "../testkit/index.ts";

// The same layers give the same bytes, whatever the order and the company in which they are converted.

const directory = tempDir();
const at = (name: string) => join(directory, name);

before(() => writeEdgeImage(at("layout")));

/** Converts the edge image into a store of its own; names and sizes of all blobs and metas there, and the flat image. */
async function convert(store: string, ...options: string[]): Promise<{ blobs: readonly string[]; flat: Buffer }> {
  const flat = at(`${store}.erofs`);
  const args = ["--store", at(store), "--quiet", "--single", flat, `oci:${at("layout")}:${EDGE_TAG}`, ...options];
  const { status, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  return { blobs: storeState(at(store)).blobs, flat: readFileSync(flat) };
}

// Three blobs (two when the middle layer's small files are in its meta), three metas, and the merged one.
for (const { name, options, files } of [
  { name: "plain", options: [], files: 7 },
  { name: "inline", options: ["--inline-tails"], files: 6 },
])
  test(`two stores and any number of jobs: ${name}`, async () => {
    const [first, ...others] = await Promise.all([
      convert(`${name}1`, "--jobs", "1", ...options),
      convert(`${name}3`, "--jobs", "3", "--threads", "2", ...options),
      convert(`${name}d`, ...options),
    ]);
    assert.equal(first.blobs.length, files);
    for (const other of others) {
      assert.deepEqual(other.blobs, first.blobs);
      assert.ok(other.flat.equals(first.flat), "flat images differ");
    }
  });

test("--inline-tails is another result, kept beside the first in one store", async () => {
  const plain = await convert("both");
  const inline = await convert("both", "--inline-tails");
  assert.ok(plain.blobs.every((blob) => inline.blobs.includes(blob)));
  assert.ok(inline.blobs.length > plain.blobs.length);
  assert.ok(!inline.flat.equals(plain.flat));
});
