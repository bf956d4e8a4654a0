import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { formatPrefetchList, type PrefetchList, parsePrefetchList } from "../../formats/oci/index.ts";
import { openImage } from "../open/index.ts";
import {
  buildTar,
  compareTrees,
  describeTree,
  erofsify,
  mountImage,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// `erofsify optimize`: what a trace names lies in a blob of its own, and every file is as before.

const directory = tempDir();
const at = (name: string) => join(directory, name);
const MIB = 1 << 20;
const image = `oci:${at("layout")}:v1`;
const files = Array.from({ length: 60 }, (_, i) => ({ name: `small${i}`, content: randomBytes(1000 + 900 * i) }));
const large = randomBytes(9 * MIB);
const later = Buffer.concat([large.subarray(2 * MIB, 4 * MIB), randomBytes(5000)]);

before(async () => {
  const bottom = buildTar([
    ...files,
    { name: "large", content: large },
    { name: "hole", content: Buffer.alloc(8 * MIB) },
    { name: "copy", content: files[30]!.content },
    { name: "later", content: later },
  ]);
  const top = buildTar([{ name: "top", content: randomBytes(50_000) }]);
  await writeOciLayout(at("layout"), "v1", [bottom, top], {});
  const { status, stderr } = await erofsify(["--quiet", "--store", at("store"), image]);
  assert.equal(status, 0, stderr);
});

type Wanted = readonly (readonly [name: string, offsetBlocks: number, bytes: number])[];

/** The image's tree, and a trace of parts of its files, in order. */
async function inspect(store: string, wanted: Wanted) {
  const opened = await openImage(image, { storeRoot: at(store) });
  const { root } = opened.reader.toTree();
  const { record } = opened.stored!;
  opened.close();
  const ranges = wanted.map(([name, offsetBlocks, bytes]) => {
    const { blob, startBlock } = root.children!.get(name)!.extents[0]!;
    return { blob, offset: (startBlock + offsetBlocks) * 4096, bytes };
  });
  const blobs = record.blobs.map(({ digestHex }) => `sha256:${digestHex}` as const);
  return { root, record, trace: { blobs, ranges } satisfies PrefetchList };
}

async function optimize(store: string, trace: PrefetchList, ...options: string[]) {
  writeFileSync(at("trace.json"), formatPrefetchList(trace));
  return erofsify(["optimize", "--store", at(store), image, "--trace", at("trace.json"), ...options]);
}

const WANTED: Wanted = [
  ["small40", 0, 100],
  ["large", 700, 65536],
  ["small7", 0, 4096],
  ["copy", 1, 1],
  ["large", 0, 4096],
  ["later", 0, 4096],
  ["small40", 1, 10],
];

test("what is traced lies first, in its order; every file is what it was", async (t) => {
  const before = await inspect("store", WANTED);
  const stranger = { blobs: [...before.trace.blobs, `sha256:${"9".repeat(64)}` as const], ranges: before.trace.ranges };
  const { status, stdout, stderr } = await optimize("store", stranger, "--json", "-o", at("hot.json"));
  assert.equal(status, 0, stderr);
  assert.match(stderr, /1 of its blobs are not of oci:.*, such as sha256:999/);
  const { pieces, hotBytes } = JSON.parse(stdout) as { pieces: number; hotBytes: number };
  // small40, 2 MiB of large, small7, small30 (whose copy was read), large's first 2 MiB; `later` starts with large's bytes.
  assert.equal(pieces, 5);
  const after = await inspect("store", []);
  assert.deepEqual(after.record.blobs.slice(1), before.record.blobs);
  assert.equal(after.record.references.at(-1), image, "it has taken the name");
  const [hot] = after.record.blobs;
  const bytes = readFileSync(at(`store/blobs/sha256/${hot!.digestHex}`));
  const small = (i: number) => files[i]!.content;
  const found = [small(40), large.subarray(2 * MIB, 4 * MIB), small(7), small(30), large.subarray(0, 2 * MIB)].map(
    (content) => bytes.indexOf(content),
  );
  assert.deepEqual(
    [...found].sort((a, b) => a - b),
    found,
  );
  assert.ok(found[0]! >= 0 && found.every((position) => position < hotBytes));
  assert.equal(found[1]! % (2 * MIB), 0, "still on a huge page");
  const list = parsePrefetchList(readFileSync(at("hot.json")));
  assert.deepEqual(list, { blobs: [`sha256:${hot!.digestHex}`], ranges: [{ blob: 0, offset: 0, bytes: hotBytes }] });
  const copies = ["copy", "small30"].map((name) => after.root.children!.get(name)!.extents);
  assert.deepEqual(copies[0], copies[1], "what was shared is shared");

  const mounted = ({ meta, blobs }: typeof after.record) =>
    mountImage(t, {
      metaPath: at(`store/blobs/sha256/${meta.digestHex}`),
      devicePaths: blobs.map(({ digestHex }) => at(`store/blobs/sha256/${digestHex}`)),
    });
  compareTrees(await describeTree(mounted(after.record)), await describeTree(mounted(before.record)));
  const check = await erofsify(["check", "--store", at("store"), image]);
  assert.equal(check.status, 0, check.stderr);
});

test("the same image and trace give the same bytes elsewhere, and hash trees stay", async () => {
  const results = [];
  for (const store of ["other-1", "other-2"]) {
    const converted = await erofsify(["--quiet", "--verity", "--store", at(store), image]);
    assert.equal(converted.status, 0, converted.stderr);
    const { status, stderr } = await optimize(store, (await inspect(store, WANTED)).trace, "--quiet");
    assert.equal(status, 0, stderr);
    const { meta, blobs } = (await inspect(store, [])).record;
    assert.ok([meta, ...blobs].every(({ verity }) => verity !== undefined));
    const check = await erofsify(["check", "--store", at(store), image]);
    assert.equal(check.status, 0, check.stderr);
    results.push([meta, blobs]);
  }
  assert.deepEqual(results[0], results[1]);
});

test("a trace of another image, and one that is none, are refused", async () => {
  const other = await optimize("store", {
    blobs: [`sha256:${"8".repeat(64)}`],
    ranges: [{ blob: 0, offset: 0, bytes: 1 }],
  });
  assert.equal(other.status, 4);
  assert.match(other.stderr, /names nothing that is a file's data/);
  writeFileSync(at("broken"), "{}");
  const broken = await erofsify(["optimize", "--store", at("store"), image, "--trace", at("broken")]);
  assert.equal(broken.status, 4, broken.stderr);
  const absent = await erofsify(["optimize", "--store", at("store"), image, "--trace", at("nowhere")]);
  assert.match(absent.stderr, /nowhere/);
});
