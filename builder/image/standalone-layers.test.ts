import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Inode,
  isImplied,
  isOpaque,
  newImpliedDirectory,
  newLowerLink,
  newWhiteout,
  S_IFDIR,
  S_IFREG,
  setOpaque,
  setXattr,
  type Tree,
  xattrValue,
} from "../../formats/tree/index.ts";
import { makeStandalone } from "./standalone-layers.ts";

/** A layer with one chain of directories; a number is the mode of one that the layer names. */
function layer(...chain: (readonly [name: string, mode: number | "implied"])[]): Tree & { dirs: Inode[] } {
  const root = new Inode(S_IFDIR | 0o755);
  const dirs: Inode[] = [];
  let at = root;
  for (const [name, mode] of chain) {
    const dir = mode === "implied" ? newImpliedDirectory() : new Inode(S_IFDIR | mode);
    dir.uid = mode === "implied" ? 0 : mode;
    at.children!.set(name, dir);
    dirs.push(dir);
    at = dir;
  }
  return { root, blobs: [], dirs };
}

test("an implied directory gets what the topmost layer below says of it", () => {
  const bottom = layer(["a", 0o700], ["b", 0o711]);
  const middle = layer(["a", 0o750]);
  const top = layer(["a", "implied"], ["b", "implied"]);
  setXattr(bottom.dirs[1]!, "user.x", "y");
  makeStandalone([bottom, middle, top]);
  const [a, b] = top.dirs;
  assert.deepEqual([a!.mode & 0o777, a!.uid], [0o750, 0o750]);
  assert.deepEqual([b!.mode & 0o777, b!.uid, xattrValue(b!, "user.x")], [0o711, 0o711, "y"]);
  assert.ok(!isImplied(a!) && !isImplied(b!));
});

test("through a layer that only implies it, too; not past what hides it", () => {
  const bottom = () => layer(["a", 0o700], ["b", 0o711]);
  const implied = () => layer(["a", "implied"], ["b", "implied"]);
  const through = implied();
  makeStandalone([bottom(), implied(), through]);
  assert.equal(through.dirs[1]!.mode & 0o777, 0o711);

  const opaque = layer(["a", 0o750]);
  setOpaque(opaque.dirs[0]!, true);
  const above = implied();
  makeStandalone([bottom(), opaque, above]);
  assert.deepEqual([above.dirs[0]!.mode & 0o777, above.dirs[1]!.mode & 0o777], [0o750, 0o755]);
  assert.equal(xattrValue(above.dirs[0]!, "trusted.overlay.opaque"), undefined);

  const removed = layer(["a", 0o750]);
  removed.dirs[0]!.children!.set("b", newWhiteout());
  const anew = implied();
  makeStandalone([bottom(), removed, anew]);
  assert.equal(anew.dirs[1]!.mode & 0o777, 0o755);

  const file = layer(["a", 0o750]);
  file.dirs[0]!.children!.set("b", new Inode(S_IFREG | 0o644));
  const over = implied();
  makeStandalone([bottom(), file, over]);
  assert.equal(over.dirs[1]!.mode & 0o777, 0o755);
});

test("nothing below names it: it stays as it is", () => {
  const only = layer(["a", "implied"]);
  makeStandalone([only]);
  assert.equal(only.dirs[0]!.mode, S_IFDIR | 0o755);
  assert.ok(!isImplied(only.dirs[0]!));
});

test("a hard link into a lower layer is refused by name", () => {
  const top = layer(["a", 0o700]);
  top.dirs[0]!.children!.set("link", newLowerLink("/b/./file"));
  assert.throws(() => makeStandalone([layer(), top]), {
    code: "ERR_UNSUPPORTED",
    message: /\/a\/link links to \/b\/file of a layer below/,
  });
});

test("the lowest layer hides nothing, others do", () => {
  const trees = [layer(["a", 0o755]), layer(["a", 0o755])];
  for (const { root, dirs } of trees) {
    setOpaque(dirs[0]!, true);
    dirs[0]!.children!.set("gone", newWhiteout());
    root.children!.set("gone", newWhiteout());
  }
  makeStandalone(trees);
  const marks = trees.map(({ root, dirs }) => [isOpaque(dirs[0]!), dirs[0]!.children!.size, root.children!.size]);
  assert.deepEqual(marks, [
    [false, 0, 1],
    [true, 1, 2],
  ]);
});
