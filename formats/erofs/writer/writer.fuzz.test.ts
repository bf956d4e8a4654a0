import { strict as assert } from "node:assert";
import { test } from "node:test";
import { bytesSource, escapeBytes } from "../../bytes/index.ts";
import { type Extent, HOLE, type Inode, type Tree } from "../../tree/index.ts";
import { checkErofs } from "../check/index.ts";
import { openErofs } from "../reader/index.ts";
import { randomSample } from "./test-random.ts";
import { writeErofs } from "./write.ts";

const TREES = 150;

test(`${TREES} random trees come back from the reader as they were, and the checker finds nothing`, () => {
  for (let seed = 0; seed < TREES; seed++) {
    const { tree } = randomSample(seed);
    const { meta, inodes } = writeErofs(tree, { layout: "devices" });
    const source = bytesSource(meta);
    const { problems, stats } = checkErofs(source, { strict: true });
    assert.deepEqual(problems, [], `seed ${seed}`);
    assert.equal(stats?.inodes ?? inodes, inodes);
    const back = openErofs(source).toTree();
    assert.deepEqual(back.blobs, tree.blobs, `seed ${seed}`);
    assert.deepEqual(flatten(back), flatten(tree), `seed ${seed}`);
  }
});

/** A tree as lines of text: a path, what it is, and the first path of the same inode. */
function flatten(tree: Tree): string[] {
  const lines: string[] = [];
  const firstPath = new Map<Inode, string>();
  const visit = (path: string, inode: Inode) => {
    const first = firstPath.get(inode) ?? path;
    firstPath.set(inode, first);
    lines.push(`${path} ${first} ${describe(inode)}`);
    for (const [name, child] of [...(inode.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)))
      visit(`${path}/${escapeBytes(name)}`, child);
  };
  visit("", tree.root);
  return lines;
}

function describe(inode: Inode): string {
  const { mode, uid, gid, mtimeSeconds, mtimeNanos, size, target, rdevMajor, rdevMinor, inlineData } = inode;
  const data = inlineData === null || size === 0 ? joined(inode.extents) : Buffer.from(inlineData).toString("base64");
  const xattrs = inode.xattrs.map(({ name, value }) => [name, value]);
  return JSON.stringify([mode, uid, gid, mtimeSeconds, mtimeNanos, size, target, rdevMajor, rdevMinor, data, xattrs]);
}

/** Extents with those joined that lie one behind the other: the writer may cut them, the reader may join them. */
function joined(extents: readonly Extent[]): Extent[] {
  const result: Extent[] = [];
  for (const extent of extents) {
    const last = result.at(-1);
    const follows =
      last?.blob === extent.blob && (extent.blob === HOLE || last.startBlock + last.blocks === extent.startBlock);
    if (follows) result[result.length - 1] = { ...last, blocks: last.blocks + extent.blocks };
    else result.push(extent);
  }
  return result;
}
