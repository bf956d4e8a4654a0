import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../bytes/index.ts";
import { Random } from "../../bytes/testing.ts";
import { BLOCK_SIZE, dumpTree, HOLE, type Inode, S_IFREG, type Tree } from "../../tree/index.ts";
import { checkErofs } from "../check/index.ts";
import { writeErofs } from "../writer/index.ts";
import { randomTree } from "./random-tree.ts";
import { openErofs, readFileRange } from "./reader.ts";

const SEEDS = Array.from({ length: 60 }, (_, i) => i * 7919 + 13);

/** Everything a tree says, inline contents too. */
function fullDump(tree: Tree): string[] {
  const lines = [...dumpTree(tree, { extents: true })];
  const todo: Inode[] = [tree.root];
  for (let inode = todo.pop(); inode !== undefined; inode = todo.pop()) {
    if (inode.inlineData !== null) lines.push(Buffer.from(inode.inlineData).toString("hex"));
    for (const [, child] of [...(inode.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) todo.push(child);
  }
  return lines;
}

test("random trees come back from an image as they were, and the image checks clean", () => {
  for (const seed of SEEDS) {
    const tree = randomTree(seed, 300);
    const source = bytesSource(writeErofs(tree, { layout: "devices" }).meta);
    const problems = checkErofs(source, { strict: true }).problems;
    assert.deepEqual(problems, [], `seed ${seed}`);
    assert.deepEqual(fullDump(openErofs(source).toTree()), fullDump(tree), `seed ${seed}`);
  }
});

test("an image of many pages reads the same from a source that copies, as a file does", () => {
  const tree = randomTree(77, 40_000);
  const memory = bytesSource(writeErofs(tree, { layout: "devices" }).meta);
  assert.ok(memory.size > 4 * 256 * 1024, `${memory.size} bytes are several pages`);
  const copying = { size: memory.size, read: (offset: number, length: number) => memory.read(offset, length).slice() };
  assert.deepEqual(fullDump(openErofs(copying).toTree()), fullDump(tree));
  assert.deepEqual(checkErofs(copying, { strict: true }).problems, []);
});

test("single look-ups agree with the whole tree", () => {
  for (const seed of SEEDS.slice(0, 15)) {
    const tree = randomTree(seed, 300);
    const reader = openErofs(bytesSource(writeErofs(tree, { layout: "devices" }).meta));
    const todo: [string, Inode][] = [["/", tree.root]];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      const [path, inode] = next;
      const onDisk = reader.inode(reader.resolve(path, false));
      assert.equal(onDisk.mode, inode.mode);
      assert.deepEqual(reader.xattrs(onDisk), inode.xattrs);
      if (inode.target !== "") assert.equal(reader.readlink(onDisk), inode.target);
      if (inode.inlineData !== null) {
        const content = Buffer.concat([...readFileRange(reader, onDisk, [], 0, inode.size)]);
        assert.ok(content.equals(inode.inlineData), path);
      } else {
        const extents = reader.extents(onDisk).map(({ device, blkAddr, blocks }) => ({
          blob: device === HOLE ? HOLE : device - 1,
          startBlock: blkAddr,
          blocks,
        }));
        if (inode.type === S_IFREG) assert.deepEqual(extents, inode.extents);
      }
      for (const [name, child] of inode.children ?? []) todo.push([`${path === "/" ? "" : path}/${name}`, child]);
    }
  }
});

test("file data of a flat image is what the extents say", () => {
  for (const seed of SEEDS.slice(0, 8)) {
    const random = new Random(seed);
    const tree = randomTree(seed, 60);
    const { meta, blobBaseBlocks, totalBlocks } = writeErofs(tree, { layout: "flat" });
    const image = Buffer.alloc(totalBlocks * BLOCK_SIZE);
    image.set(meta);
    for (let block = blobBaseBlocks[0]!; block < totalBlocks; block++) image.writeUInt32LE(block, block * BLOCK_SIZE);
    const reader = openErofs(bytesSource(image));
    for (const [name, inode] of tree.root.children!) {
      if (inode.extents.length === 0) continue;
      const onDisk = reader.inode(reader.lookup(reader.inode(reader.rootNid), name)!.nid);
      const expected: number[] = [];
      for (const { blob, startBlock, blocks } of inode.extents)
        for (let i = 0; i < blocks; i++) expected.push(blob === HOLE ? 0 : blobBaseBlocks[blob]! + startBlock + i);
      const first = random.below(expected.length);
      const data = Buffer.concat([...readFileRange(reader, onDisk, [], first * BLOCK_SIZE, inode.size)]);
      assert.equal(data.length, inode.size - first * BLOCK_SIZE);
      for (let i = first; i < expected.length - 1; i++)
        assert.equal(data.readUInt32LE((i - first) * BLOCK_SIZE), expected[i]);
    }
  }
});
