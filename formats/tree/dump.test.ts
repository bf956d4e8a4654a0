import assert from "node:assert/strict";
import { test } from "node:test";
import { dumpTree } from "./dump.ts";
import { HOLE, Inode, S_IFBLK, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, setXattr, type Tree } from "./inode.ts";
import { newWhiteout } from "./layer-marks.ts";

function dir(entries: Record<string, Inode> = {}): Inode {
  const inode = new Inode(S_IFDIR | 0o755);
  for (const [name, child] of Object.entries(entries)) inode.children!.set(name, child);
  return inode;
}

function make(mode: number, fields: Partial<Inode> = {}): Inode {
  return Object.assign(new Inode(mode), fields);
}

function sample(): Tree {
  const extents = [
    { blob: 1, startBlock: 16, blocks: 2 },
    { blob: HOLE, startBlock: 0, blocks: 3 },
  ];
  const linked = make(S_IFREG | 0o4755, { size: 20_000, uid: 7, gid: 8, mtimeSeconds: -2, mtimeNanos: 50, extents });
  setXattr(linked, "user.a=b", "x y\\\0");
  setXattr(linked, "security.z", "");
  const root = dir({
    "z\n\xff \\": make(S_IFIFO),
    a: dir({ "0": linked, sub: dir() }),
    "a-b": linked,
    "a.link": make(S_IFLNK | 0o777, { target: "to here" }),
    a0: make(S_IFREG, { size: 3, inlineData: Buffer.from("abc") }),
    disk: make(S_IFBLK | 0o660, { rdevMajor: 8, rdevMinor: 300, mtimeSeconds: 1_700_000_000 }),
    gone: newWhiteout(),
  });
  return {
    root,
    blobs: [
      { digestHex: "", blocks: 4 },
      { digestHex: "ab".repeat(32), blocks: 99 },
    ],
  };
}

test("a dump says everything about every path, in byte order", () => {
  assert.deepEqual(
    [...dumpTree(sample(), { extents: true })],
    [
      "# blob 0 - 4",
      `# blob 1 ${"ab".repeat(32)} 99`,
      "d0755 3 0 0 0 0.000000000 - /",
      "d0755 3 0 0 0 0.000000000 - /a",
      "-4755 2 7 8 20000 -2.000000050 - /a-b extents=1:16+2,hole+3 x:security.z= x:user.a\\x3db=x\\x20y\\\\\\x00",
      "l0777 1 0 0 7 0.000000000 - /a.link target=to\\x20here",
      "-4755 2 7 8 20000 -2.000000050 - /a/0 link=/a-b",
      "d0755 2 0 0 0 0.000000000 - /a/sub",
      "-0000 1 0 0 3 0.000000000 - /a0 inline=3",
      "b0660 1 0 0 0 1700000000.000000000 8:300 /disk",
      "c0000 1 0 0 0 0.000000000 0:0 /gone",
      "p0000 1 0 0 0 0.000000000 - /z\\x0a\\xff\\x20\\\\",
    ],
  );
});

test("without extents nothing tells where the data lies", () => {
  const lines = [...dumpTree(sample())];
  assert.equal(lines.length, 10);
  assert.ok(lines.every((line) => !/^#|extents=|inline=/.test(line)));
});

test("the order in which a tree was filled does not show", () => {
  const names = ["b", "a", "ab", "a!"];
  const one = dir(Object.fromEntries(names.map((name) => [name, dir({ x: dir() })])));
  const two = dir(Object.fromEntries(names.toReversed().map((name) => [name, dir({ x: dir() })])));
  const dump = (root: Inode) => [...dumpTree({ root, blobs: [] })];
  assert.deepEqual(dump(one), dump(two));
  const paths = dump(one).map((line) => line.split(" ")[7]!);
  assert.deepEqual(paths, paths.toSorted());
});

test("a nest of 20,000 directories is dumped line by line without a stack", () => {
  let root = dir();
  for (let depth = 0; depth < 20_000; depth++) root = dir({ d: root });
  let count = 0;
  for (const line of dumpTree({ root, blobs: [] })) if (++count === 300) assert.equal(line.length, 28 + 2 * 299);
  assert.equal(count, 20_001);
});
