import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../../formats/bytes/index.ts";
import type { EntryType, TarEntry } from "../../formats/tar/index.ts";
import {
  type Inode,
  isImplied,
  isOpaque,
  isWhiteout,
  lowerLinkTarget,
  mergeLayers,
  S_IFLNK,
} from "../../formats/tree/index.ts";
import type { LayerLimits } from "./layer-budget.ts";
import { LayerTree } from "./layer-tree.ts";

const LETTERS: Record<string, EntryType> = {
  d: "directory",
  f: "file",
  l: "symlink",
  h: "hardlink",
  p: "fifo",
  c: "char",
};

/** `d usr 0700`, `f usr/a`, `l bin -> usr/bin`, `h b -> usr/a`: an entry in short, a uid of its own by position. */
function entry(text: string, index: number): TarEntry {
  const [letter = "", path = "", ...rest] = text.split(" ");
  const arrow = rest.indexOf("->");
  return {
    type: LETTERS[letter] as EntryType,
    path,
    linkPath: arrow < 0 ? "" : (rest[arrow + 1] as string),
    mode: arrow < 0 && rest[0] ? Number.parseInt(rest[0], 8) : 0o644,
    uid: index + 1,
    gid: 0,
    size: 0,
    mtimeSeconds: 0,
    mtimeNanos: 0,
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
    sparse: null,
    headerOffset: index * 512,
  };
}

function layer(...entries: string[]): LayerTree {
  const tree = new LayerTree();
  for (const [index, text] of entries.entries()) tree.add(entry(text, index));
  return tree;
}

/** A tree in short: path, what it is, uid; marks by name. Hard links show the same number. */
function listing(root: Inode): string[] {
  const numbers = new Map<Inode, number>();
  const lines: string[] = [];
  const walk = (dir: Inode, path: string) => {
    for (const [name, inode] of [...(dir.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const here = `${path}${name}`;
      if (!numbers.has(inode)) numbers.set(inode, numbers.size);
      if (inode.children) {
        lines.push(`${here}/${isImplied(inode) ? " implied" : ` ${inode.uid}`}${isOpaque(inode) ? " opaque" : ""}`);
        walk(inode, `${here}/`);
      } else if (isWhiteout(inode)) lines.push(`${here} whiteout`);
      else if (lowerLinkTarget(inode)) lines.push(`${here} => ${lowerLinkTarget(inode)}`);
      else if (inode.type === S_IFLNK) lines.push(`${here} -> ${inode.target}`);
      else lines.push(`${here} ${inode.uid}`);
    }
  };
  walk(root, "");
  return lines;
}

const merged = (...layers: LayerTree[]) => listing(mergeLayers(layers.map(({ root }) => ({ root, blobs: [] }))).root);

test("entries make a tree: ./, missing parents, absolute names and .. stay inside the root", () => {
  assert.deepEqual(listing(layer("d ./", "f ./a", "f /b", "f x/y/z", "f ../../c", "f x/../../d").root), [
    "a 2",
    "b 3",
    "c 5",
    "d 6",
    "x/ implied",
    "x/y/ implied",
    "x/y/z 4",
  ]);
});

test("the last of duplicate entries wins; a directory named again keeps its children and takes the new metadata", () => {
  assert.deepEqual(listing(layer("f a", "f a", "d d", "f d/x", "d d").root), ["a 2", "d/ 5", "d/x 4"]);
});

test("a directory in place of something else hides what lower layers have", () => {
  assert.deepEqual(listing(layer("d d", "f d/x", "f d", "d d", "f d/y").root), ["d/ 4 opaque", "d/y 5"]);
  assert.deepEqual(listing(layer("f .wh.d", "d d").root), ["d/ 2 opaque"]);
  assert.deepEqual(listing(layer("f .wh.d", "f d/x").root), ["d/ implied opaque", "d/x 2"]);
});

test("a whiteout hides lower entries and leaves the layer's own, in either order", () => {
  assert.deepEqual(listing(layer("f a", "f .wh.a", "d d", "f d/x", "f .wh.d", "f .wh.gone").root), [
    "a 1",
    "d/ 3 opaque",
    "d/x 4",
    "gone whiteout",
  ]);
  assert.deepEqual(listing(layer("f .wh.a", "f a").root), ["a 2"]);
});

test("entries through a symlinked parent go where it leads, inside the root", () => {
  const tree = layer(
    "d usr",
    "d usr/bin",
    "l bin -> usr/bin",
    "f bin/sh",
    "l up -> ../../../usr",
    "f up/x",
    "l abs -> /usr",
    "f abs/y",
  );
  assert.deepEqual(listing(tree.root), [
    "abs -> /usr",
    "bin -> usr/bin",
    "up -> ../../../usr",
    "usr/ 1",
    "usr/bin/ 2",
    "usr/bin/sh 4",
    "usr/x 6",
    "usr/y 8",
  ]);
});

test("the quick way for a directory's next entry forgets a directory that was replaced", () => {
  const tree = layer("d a", "d b", "f a/x", "l a -> b", "f a/y");
  assert.deepEqual(listing(tree.root), ["a -> b", "b/ 2", "b/y 5"]);
});

test("hard links share an inode, or point to a lower file", () => {
  const tree = layer("f a", "h b -> a", "h c -> ./a", "h d -> lower/file");
  assert.deepEqual(listing(tree.root), ["a 1", "b 1", "c 1", "d => /lower/file"]);
  assert.equal(tree.root.children?.get("a"), tree.root.children?.get("c"));
});

for (const [what, entries, message] of [
  ["an entry below a file", ["f a", "f a/b"], /a\/b lies below a file/],
  ["a hard link to a directory", ["d a", "h b -> a"], /links to the directory a/],
  ["a file for a root", ["f ./"], /names the root/],
  ["a symlink loop on the way", ["l a -> b", "l b -> a", "f a/x"], /meets over 255 symlinks/],
  ["a whiteout without a name", ["f .wh."], /whiteout of nothing/],
] as const)
  test(`${what} is an error that names the entry`, () => {
    assert.throws(
      () => layer(...entries),
      (error) => error instanceof FormatError && message.test(error.message),
    );
  });

test("what a layer may ask of memory: inodes, text, long names and link targets", () => {
  const limited = (limits: LayerLimits, ...entries: string[]) => {
    const tree = new LayerTree(limits);
    for (const [index, text] of entries.entries()) tree.add(entry(text, index));
  };
  const three = { inodes: 3, textBytes: 1000 };
  limited(three, "f a", "f b", "f c");
  limited(three, "f a/b/c");
  assert.throws(() => limited(three, "f a", "f b", "f c", "f d"), /at byte 1536: d makes 4 files .* may have 3/);
  assert.throws(() => limited(three, "f a/b/c/d"), /a\/b\/c\/d makes 4 files/);
  assert.throws(() => limited({ inodes: 9, textBytes: 10 }, "f abcdefghijk"), /with 11 bytes of names, .* with 10/);
  assert.throws(() => limited({ inodes: 9, textBytes: 10 }, "l a -> abcdefghijk"), /with 11 bytes/);
  const n = "n".repeat(255);
  limited(three, `f ${n}`, `l t -> ${"t".repeat(500)}`);
  assert.throws(() => layer(`f ${n}n`), /a name in it has 256 bytes, Linux takes 255/);
  assert.throws(() => layer(`f ${n}n/f`), /a name in it has 256 bytes/);
  layer(`l a -> ${"t".repeat(4095)}`);
  assert.throws(() => layer(`l a -> ${"t".repeat(4096)}`), /its link target has 4096 bytes, Linux takes 4095/);
  layer(`f ${"a/".repeat(2047)}f`);
  assert.throws(() => layer(`f ${"a/".repeat(2048)}`), /: it has 4096 bytes, Linux takes 4095/);
});

test("merge: whiteouts, opaque directories, and metadata of the topmost layer that names a directory", () => {
  const base = layer("d etc 0755", "f etc/a", "f etc/b", "d var", "f var/x", "d keep", "f keep/k");
  const top = layer("f etc/.wh.a", "f etc/c", "d var", "f var/.wh..wh..opq", "f var/y", "f keep/l");
  assert.deepEqual(merged(base, top), [
    "etc/ 1",
    "etc/b 3",
    "etc/c 2",
    "keep/ 6",
    "keep/k 7",
    "keep/l 6",
    "var/ 3",
    "var/y 5",
  ]);
});

test("merge: a hard link into a lower layer is one inode with its target, also when the target's own name goes", () => {
  const base = layer("d bin", "f bin/busybox");
  const top = layer("h bin/sh -> bin/busybox", "f bin/.wh.busybox", "h bin/ls -> bin/sh");
  const tree = mergeLayers([base, top].map(({ root }) => ({ root, blobs: [] })));
  assert.deepEqual(listing(tree.root), ["bin/ 1", "bin/ls 2", "bin/sh 2"]);
  const bin = tree.root.children?.get("bin");
  assert.equal(bin?.children?.get("ls"), bin?.children?.get("sh"));
});

test("merge: entries through a symlink that only a lower layer has", () => {
  const base = layer("d usr", "d usr/lib", "l lib -> usr/lib", "l gone -> usr/new/dir");
  const top = layer("f lib/x", "f gone/y", "h z -> lib/x");
  assert.deepEqual(merged(base, top), [
    "gone -> usr/new/dir",
    "lib -> usr/lib",
    "usr/ 1",
    "usr/lib/ 2",
    "usr/lib/x 1",
    "usr/new/ 0",
    "usr/new/dir/ 0",
    "usr/new/dir/y 2",
    "z 1",
  ]);
});

test("merge: an explicit directory replaces a lower symlink, a file replaces a directory, and back", () => {
  const base = layer("d usr", "l lib -> usr", "d d", "f d/x");
  const middle = layer("d lib", "f d");
  const top = layer("f lib/x", "d d", "f d/y");
  assert.deepEqual(merged(base, middle, top), ["d/ 2", "d/y 3", "lib/ 1", "lib/x 1", "usr/ 1"]);
});

test("merge: a hard link to nothing is an error that names both", () => {
  assert.throws(() => merged(layer("f a"), layer("h b -> c/d")), /b links to \/c\/d, found nothing/);
});

test("xattrs of an archive that look like marks stay what they are", () => {
  const tree = new LayerTree();
  const xattrs = [
    { name: "trusted.overlay.opaque", value: "y" },
    { name: "user.x", value: "1" },
  ];
  const dir = tree.add({ ...entry("d d", 0), xattrs }) as Inode;
  assert.equal(isOpaque(dir), false);
  const result = mergeLayers([{ root: tree.root, blobs: [] }]);
  assert.deepEqual(result.root.children?.get("d")?.xattrs, xattrs);
});
