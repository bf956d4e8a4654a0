import assert from "node:assert/strict";
import { test } from "node:test";
import { PathError } from "./resolve.ts";
import { dir, file, imageOf, open, symlink } from "./test-images.ts";

const loops = Object.fromEntries(Array.from({ length: 41 }, (_, i) => [`hop${i}`, symlink(`hop${i + 1}`)]));
const reader = open(
  imageOf(
    dir({
      etc: dir({ passwd: file(0), self: symlink("."), up: symlink("../../../../etc/passwd") }),
      usr: dir({
        lib: dir({ so: file(0) }),
        loop: symlink("loop"),
        abs: symlink("/etc"),
        out: symlink("/../../usr/lib"),
      }),
      lib: symlink("usr/lib"),
      ...loops,
      hop41: file(0),
    }),
  ),
);

/** The same file, reached without symlinks. */
function plain(path: string): number {
  let inode = reader.inode(reader.rootNid);
  for (const name of path.split("/").slice(1)) inode = reader.inode(reader.lookup(inode, name)!.nid);
  return inode.nid;
}

for (const [path, same] of [
  ["/etc/passwd", "/etc/passwd"],
  ["etc//./passwd", "/etc/passwd"],
  ["/lib/so", "/usr/lib/so"],
  ["/lib/../lib/so", "/usr/lib/so"], // `..` of where the link leads
  ["/usr/abs/passwd", "/etc/passwd"],
  ["/usr/out/so", "/usr/lib/so"],
  ["/etc/up", "/etc/passwd"],
  ["/etc/self/self/passwd", "/etc/passwd"],
  ["/../../etc/passwd", "/etc/passwd"],
  ["/lib/", "/usr/lib"],
  ["/hop2", "/hop41"],
] as const)
  test(`${path} leads to ${same}`, () => assert.equal(reader.resolve(path), plain(same)));

test("the root has many names", () => {
  for (const path of ["", "/", "//", ".", "..", "/../..", "/etc/.."])
    assert.equal(reader.resolve(path), reader.rootNid);
});

test("a symlink as last component is followed only on demand", () => {
  assert.equal(reader.resolve("/lib", false), plain("/lib"));
  assert.notEqual(reader.resolve("/lib"), plain("/lib"));
  assert.equal(reader.resolve("/lib/", false), plain("/usr/lib"));
});

for (const [path, code] of [
  ["/none", "ENOENT"],
  ["/etc/none/x", "ENOENT"],
  ["/etc/passwd/x", "ENOTDIR"],
  ["/etc/passwd/..", "ENOTDIR"],
  ["/etc/passwd/", "ENOTDIR"],
  ["/usr/loop", "ELOOP"],
  ["/hop0", "ELOOP"],
] as const)
  test(`${path} fails with ${code}`, () => {
    assert.throws(
      () => reader.resolve(path),
      (error) => error instanceof PathError && error.code === code && error.message.startsWith(path),
    );
  });
