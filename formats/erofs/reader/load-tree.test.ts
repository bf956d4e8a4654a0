import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK_SIZE, HOLE, type Inode, newWhiteout, S_IFCHR, setOpaque, type Tree } from "../../tree/index.ts";
import { assertFormatError, blob, dir, file, flatImageOf, imageOf, inlineFile, open, symlink } from "./test-images.ts";

function entry(tree: Tree, path: string): Inode {
  let inode = tree.root;
  for (const name of path.split("/")) inode = inode.children!.get(name)!;
  return inode;
}

test("names of one inode share one object, others do not", () => {
  const linked = file(100, { blob: 0, startBlock: 0, blocks: 1 });
  const tree = open(imageOf(dir({ a: linked, d: dir({ b: linked }), c: file(0) }), [blob(1)])).toTree();
  assert.equal(entry(tree, "a"), entry(tree, "d/b"));
  assert.notEqual(entry(tree, "a"), entry(tree, "c"));
});

test("extents point into the blobs of the device table", () => {
  const f = file(3 * BLOCK_SIZE, { blob: 1, startBlock: 2, blocks: 2 }, { blob: HOLE, startBlock: 0, blocks: 1 });
  const blobs = [blob(9, "1"), blob(8, "2")];
  const tree = open(imageOf(dir({ f }), blobs)).toTree();
  assert.deepEqual(tree.blobs, blobs);
  assert.deepEqual(entry(tree, "f").extents, f.extents);
  assert.equal(entry(tree, "f").inlineData, null);
});

test("chunks in the image itself point into one more blob without a digest", () => {
  const f = file(BLOCK_SIZE, { blob: 0, startBlock: 0, blocks: 1 });
  const image = flatImageOf(dir({ f }), [Buffer.alloc(BLOCK_SIZE, 7)]);
  const tree = open(image).toTree();
  assert.deepEqual(tree.blobs, [{ digestHex: "", blocks: image.length / BLOCK_SIZE }]);
  const [extent] = entry(tree, "f").extents;
  assert.equal(image[extent!.startBlock * BLOCK_SIZE], 7);
});

test("inline data of every size comes back whole, and as extents and tail above the limit", () => {
  for (const size of [1, 4000, 4096, 5000, 3 * BLOCK_SIZE]) {
    const content = Buffer.alloc(size, "0123456789");
    const image = imageOf(dir({ f: inlineFile(content.toString("latin1")) }));
    const whole = open(image).toTree();
    assert.ok(content.equals(entry(whole, "f").inlineData!), `${size}`);
    assert.deepEqual([entry(whole, "f").extents, whole.blobs], [[], []]);
    const { extents, inlineData } = entry(open(image).toTree({ inlineLimitBytes: 0 }), "f");
    const covered = extents.reduce((sum, { blocks }) => sum + blocks * BLOCK_SIZE, 0);
    assert.ok(covered + (inlineData?.length ?? 0) >= size, `${size}: extents and tail cover the file`);
    assert.ok(extents.length === 0 || extents[0]!.blob === 0, `${size}: in the image itself`);
  }
});

test("marks of a layer come back as inodes and xattrs", () => {
  const opaque = dir();
  setOpaque(opaque, true);
  const tree = open(imageOf(dir({ gone: newWhiteout(), opaque, link: symlink("../x") }))).toTree();
  assert.equal(entry(tree, "gone").mode, S_IFCHR);
  assert.deepEqual(entry(tree, "opaque").xattrs, opaque.xattrs);
  assert.equal(entry(tree, "link").target, "../x");
});

/** Makes the entry at `path` name the inode at `target`. */
function redirect(image: Buffer, path: string, target: string): void {
  const reader = open(image);
  const parent = reader.inode(reader.resolve(path.slice(0, path.lastIndexOf("/")) || "/"));
  const index = [...reader.readdir(parent)].findIndex(({ name }) => name === path.slice(path.lastIndexOf("/") + 1));
  image.writeUInt32LE(reader.resolve(target, false), parent.tailOffset + index * 12);
}

for (const [what, path, target, detail] of [
  ["a cycle", "/a/b/c", "/a", /has another name already and is a directory/],
  ["a directory below itself", "/a/b/c", "/a/b", /has another name already and is a directory/],
  ["the root below itself", "/a/b", "/", /has another name already and is a directory/],
  ["a directory with two parents", "/z", "/a/b", /has another name already and is a directory/],
  ["a wrong .", "/a/.", "/z", /found \d+ for \. or \.\./],
  ["a wrong ..", "/a/b/..", "/", /found \d+ for \. or \.\./],
] as const)
  test(`${what} is refused`, () => {
    const image = imageOf(dir({ a: dir({ b: dir({ c: dir() }) }), z: dir() }));
    redirect(image, path, target);
    assertFormatError(() => open(image).toTree(), "erofs_dirent.nid", detail);
  });

test("a second name of a file whose link count is 1 is refused", () => {
  const image = imageOf(dir({ a: file(0), b: file(0) }));
  redirect(image, "/b", "/a");
  assertFormatError(() => open(image).toTree(), "erofs_dirent.nid", /or has a link count of 1/);
});

test("an entry whose type is not the inode's is refused", () => {
  const image = imageOf(dir({ a: dir(), f: file(0) }));
  redirect(image, "/a", "/f");
  assertFormatError(() => open(image).toTree(), "erofs_dirent.fileType", /found 2, the mode of nid \d+ is 0100644/);
});

test("a symlink without a target, with too long a one, or with a zero byte is refused", () => {
  const image = imageOf(dir({ l: symlink("target") }));
  const reader = open(image);
  const { offset, tailOffset } = reader.inode(reader.resolve("/l", false));
  image[tailOffset + 2] = 0;
  assertFormatError(() => reader.toTree(), "symlink target", /a zero byte/);
  for (const size of [0, 4097]) {
    image.writeUInt32LE(size, offset + 8);
    const inode = reader.inode(reader.resolve("/l", false));
    assertFormatError(() => reader.readlink(inode), "erofs_inode.size", /expected 1 to 4096/);
  }
});

test("a nest of 20,000 directories needs no stack", () => {
  let root = dir();
  for (let depth = 0; depth < 20_000; depth++) root = dir({ d: root });
  let depth = 0;
  for (let at: Inode | undefined = open(imageOf(root)).toTree().root; at; at = at.children!.get("d")) depth++;
  assert.equal(depth, 20_001);
});

test("a thousand directories over the same bytes are more than the image can hold", () => {
  const names = Array.from({ length: 1000 }, (_, i) => `d${i.toString().padStart(3, "0")}`);
  const linked = file(0);
  const big = dir(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`file-${i}`, linked])));
  const image = imageOf(dir({ big, ...Object.fromEntries(names.map((name) => [name, dir()])) }));
  const reader = open(image);
  const { u, size } = reader.inode(reader.resolve("/big"));
  const offsets = names.map((name) => reader.inode(reader.resolve(`/${name}`)).offset);
  for (const at of offsets) {
    image.writeUInt16LE(image.readUInt16LE(at) & 1, at); // FLAT_PLAIN
    image.writeUInt32LE(Math.floor(size / BLOCK_SIZE) * BLOCK_SIZE, at + 8);
    image.writeUInt32LE(u, at + 16);
  }
  // `.` and `..` are right for one directory only: make them names of a file.
  const block = image.subarray(u * BLOCK_SIZE);
  const fileNid = reader.resolve("/big/file-1");
  for (const [i, name] of ["+", ",,"].entries()) {
    block.writeUInt32LE(fileNid, i * 12);
    block.writeUInt8(1, i * 12 + 10);
    block.write(name, block.readUInt16LE(i * 12 + 8), "latin1");
  }
  assertFormatError(() => reader.toTree(), "directory block", /adds up to more bytes than the image has/);
});
