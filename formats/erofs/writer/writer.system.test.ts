import { strict as assert } from "node:assert";
import { closeSync, lstatSync, openSync, readdirSync, readSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { BLOCK_SIZE, type Extent, HOLE, type Inode } from "../../tree/index.ts";
import { compareWithTree } from "./test-compare.ts";
import { fsck, MountLab } from "./test-mounts.ts";
import { randomSample } from "./test-random.ts";
import { BlobsInMemory, everyKind, newDirectory, newFile, noise, range } from "./test-trees.ts";
import { writeErofs } from "./write.ts";

describe("images on the running kernel and in fsck.erofs", () => {
  let lab: MountLab;
  before(() => {
    lab = new MountLab();
  });
  after(() => lab.close());

  test("a tree with something of everything reads back the same, mounted in every way", () => {
    const sample = everyKind();
    for (const [way, at] of Object.entries(lab.mountEveryWay(sample))) {
      try {
        compareWithTree(at, sample);
      } catch (cause) {
        throw new Error(`mounted as ${way}`, { cause });
      }
    }
  });

  test("random trees read back the same, mounted in every way, and fsck.erofs accepts them", () => {
    for (const seed of range(8).map((i) => 5000 + i)) {
      const sample = randomSample(seed);
      for (const [way, at] of Object.entries(lab.mountEveryWay(sample))) {
        try {
          compareWithTree(at, sample);
        } catch (cause) {
          throw new Error(`seed ${seed}, mounted as ${way}`, { cause });
        }
      }
      fsck(lab.writeFlat(writeErofs(sample.tree, { layout: "flat" }), sample.blobs));
    }
  });

  test("fsck.erofs accepts it, flat and with devices", () => {
    const { tree, blobs } = everyKind();
    fsck(lab.writeFlat(writeErofs(tree, { layout: "flat" }), blobs));
    const parts = lab.writeParts(writeErofs(tree, { layout: "devices" }), blobs);
    fsck(parts.meta, parts.blobs);
  });

  for (const current of [false, true])
    test(`fsck.erofs extracts it, flat and with devices: ${current ? "the lab's" : "Debian stable's"} version`, () => {
      const sample = everyKind();
      const image = lab.writeFlat(writeErofs(sample.tree, { layout: "flat" }), sample.blobs);
      compareWithTree(lab.extract(current, image), sample, { extracted: true });
      const parts = lab.writeParts(writeErofs(sample.tree, { layout: "devices" }), sample.blobs);
      compareWithTree(lab.extract(current, parts.meta, parts.blobs), sample, { extracted: true });
    });

  test("data of two blobs whose block numbers follow each other is read right from one flat device", () => {
    const blobs = new BlobsInMemory();
    const a = blobs.add(0, noise(1, 16 * BLOCK_SIZE));
    const b = blobs.add(1, noise(2, 16 * BLOCK_SIZE));
    const extents = [
      { ...a, blocks: 8 },
      { ...b, startBlock: 8, blocks: 8 },
    ];
    const sample = blobs.sample(newDirectory({ f: newFile(16 * BLOCK_SIZE, extents) }));
    const image = writeErofs(sample.tree, { layout: "flat" });
    compareWithTree(lab.mount(lab.writeFlat(image, sample.blobs)), sample);
    assert.throws(() => writeErofs(sample.tree, { layout: "devices" }), { code: "ERR_UNSUPPORTED" });
  });

  test("an empty tree mounts", () => {
    const sample = new BlobsInMemory().sample(newDirectory());
    for (const at of Object.values(lab.mountEveryWay(sample))) compareWithTree(at, sample);
  });

  test("a directory of 100,000 entries lists and finds every name", () => {
    const names = range(100_000).map((i) => `${((i * 7919) % 100_000).toString(36)}-${"x".repeat(i % 40)}`);
    const file = newFile(0, []);
    const others = newFile(1, [{ blob: HOLE, startBlock: 0, blocks: 1 }]);
    const root = newDirectory(Object.fromEntries(names.map((name, i) => [name, i % 1000 === 0 ? others : file])));
    const { tree } = new BlobsInMemory().sample(root);
    const image = lab.writeFlat(writeErofs(tree, { layout: "flat" }), []);
    const at = lab.mount(image);
    assert.deepEqual(readdirSync(at).sort(), [...root.children!.keys()].sort());
    for (let i = 0; i < names.length; i += 97)
      assert.equal(lstatSync(`${at}/${names[i]}`).size, i % 1000 === 0 ? 1 : 0);
    assert.equal(lstatSync(`${at}/${names[1]}`).nlink, 99_900);
    assert.throws(() => lstatSync(`${at}/no-such-name`), { code: "ENOENT" });
    fsck(image);
  });

  test("a 5 GiB file with holes reads right on both sides of each boundary", () => {
    const size = 5 * 2 ** 30 + 123;
    const blobs = new BlobsInMemory();
    const data = blobs.add(0, noise(5, 64 * BLOCK_SIZE));
    const hole = (blocks: number): Extent => ({ blob: HOLE, startBlock: 0, blocks });
    const part = (from: number, blocks: number): Extent => ({ blob: 0, startBlock: data.startBlock + from, blocks });
    const before4GiB = 2 ** 20 - 16;
    const tailBlocks = Math.ceil(size / BLOCK_SIZE) - before4GiB - 32 - 16;
    const extents = [part(0, 16), hole(before4GiB - 16), part(16, 32), hole(tailBlocks), part(48, 16)];
    const sample = blobs.sample(newDirectory({ big: newFile(size, extents) }));
    for (const at of Object.values(lab.mountEveryWay(sample))) {
      assert.equal(lstatSync(`${at}/big`).size, size);
      checkWindows(`${at}/big`, extents, size, sample.blobs[0]!);
    }
  });

  test("a tree 20,000 directories deep mounts", () => {
    const depth = 20_000;
    const { tree } = new BlobsInMemory().sample(chain(depth));
    const at = lab.mount(lab.writeFlat(writeErofs(tree, { layout: "flat" }), []));
    const home = process.cwd();
    try {
      process.chdir(at);
      for (let i = 0; i < depth; i++) process.chdir("d");
      assert.deepEqual(readdirSync("."), ["leaf"]);
      for (let i = 0; i < depth; i++) process.chdir("..");
      assert.equal(lstatSync(".").ino, lstatSync(at).ino);
    } finally {
      process.chdir(home);
    }
  });

  test("fsck.erofs accepts a tree 400 directories deep: it recurses, 1,000 are too many for version 1.5", () => {
    const { tree } = new BlobsInMemory().sample(chain(400));
    fsck(lab.writeFlat(writeErofs(tree, { layout: "flat" }), []));
  });
});

/** Directories inside one another, all named `d`, with a file at the bottom. */
function chain(depth: number): Inode {
  let dir = newDirectory({ leaf: newFile(0, []) });
  for (let i = 0; i < depth; i++) dir = newDirectory({ d: dir });
  return dir;
}

/** Reads 8 KiB around the ends of each extent and compares with the blob, or with zeros. */
function checkWindows(path: string, extents: readonly Extent[], size: number, blob: Buffer): void {
  const expectedBlock = (block: number): Buffer => {
    for (const extent of extents) {
      if (block < extent.blocks) {
        const from = (extent.startBlock + block) * BLOCK_SIZE;
        return extent.blob === HOLE ? Buffer.alloc(BLOCK_SIZE) : blob.subarray(from, from + BLOCK_SIZE);
      }
      block -= extent.blocks;
    }
    return Buffer.alloc(0);
  };
  const fd = openSync(path, "r");
  try {
    let boundary = 0;
    for (const extent of [...extents, { blocks: 0 }]) {
      const first = Math.max(0, boundary - 1);
      const expected = Buffer.concat([expectedBlock(first), expectedBlock(first + 1)]);
      const found = Buffer.alloc(expected.length);
      const read = readSync(fd, found, 0, found.length, first * BLOCK_SIZE);
      assert.equal(read, Math.min(expected.length, size - first * BLOCK_SIZE), `length at block ${first}`);
      assert.deepEqual(found.subarray(0, read), expected.subarray(0, read), `content at block ${first}`);
      boundary += extent.blocks;
    }
  } finally {
    closeSync(fd);
  }
}
