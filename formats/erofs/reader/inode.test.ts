import assert from "node:assert/strict";
import { test } from "node:test";
import { Inode, S_IFBLK, S_IFREG } from "../../tree/index.ts";
import { assertFormatError, dir, imageOf, inodeOffset, open } from "./test-images.ts";

/** An image whose root has one file `f` with an inode of the given form. */
function imageWith(fields: Partial<Inode>): Buffer {
  const other = Object.assign(new Inode(S_IFREG | 0o600), { mtimeSeconds: 1_000_000 });
  const third = Object.assign(new Inode(S_IFREG | 0o600), { mtimeSeconds: 1_000_000 });
  const inode = Object.assign(new Inode(S_IFREG | 0o4755), fields);
  const root = dir({ f: inode, other, third });
  root.mtimeSeconds = 1_000_000;
  return imageOf(root);
}

test("an extended inode keeps large owners, negative times and nanoseconds", () => {
  const image = imageWith({ uid: 4_000_000_000, gid: 70_000, mtimeSeconds: -12_345_678_901, mtimeNanos: 999_999_999 });
  const reader = open(image);
  const inode = reader.inode(reader.resolve("/f"));
  assert.equal(inode.extended, true);
  assert.equal(inode.mode, S_IFREG | 0o4755);
  assert.deepEqual(
    [inode.uid, inode.gid, inode.mtimeSeconds, inode.mtimeNanos, inode.nlink],
    [4_000_000_000, 70_000, -12_345_678_901, 999_999_999, 1],
  );
});

test("a compact inode takes its time from the superblock, plus its own offset since Linux 6.15", () => {
  const image = imageWith({ mtimeSeconds: 1_000_000 });
  const at = inodeOffset(image, "/f");
  assert.equal(open(image).inode(open(image).resolve("/f")).extended, false);
  image.writeUInt32LE(500, at + 12);
  const reader = open(image);
  assert.equal(reader.inode(reader.resolve("/f")).mtimeSeconds, 1_000_500);
});

test("device numbers of 12 and 20 bits decode", () => {
  const root = dir({ d: Object.assign(new Inode(S_IFBLK | 0o600), { rdevMajor: 0xabc, rdevMinor: 0xfedcb }) });
  const reader = open(imageOf(root));
  const inode = reader.inode(reader.resolve("/d"));
  assert.deepEqual([inode.rdevMajor, inode.rdevMinor], [0xabc, 0xfedcb]);
});

for (const [what, at, value, field, detail] of [
  ["an unknown i_format bit", 0, 0x20, "erofs_inode.format", /found 0x20, expected a known/],
  ["a 48-bit layout bit", 0, 0x10, "erofs_inode.format", /48-bit/],
  ["data layout 5", 0, 5 << 1, "erofs_inode.format", /found 0xa/],
  ["a mode without a type", 4, 0o644, "erofs_inode.mode", /found 0644/],
] as const)
  test(`${what} is refused`, () => {
    const image = imageWith({ mtimeSeconds: 1_000_000 });
    const reader = open(image);
    const nid = reader.resolve("/f");
    image.writeUInt16LE(value, inodeOffset(image, "/f") + at);
    assertFormatError(() => reader.inode(nid), field, detail);
  });

// The highest byte of each field: size at 8, mtime at 32, mtimeNsec at 40.
for (const [what, at, byte, field] of [
  ["a size above 2^52", 15, 0x10, "erofs_inode_extended.size"],
  ["an mtime above 2^52", 39, 0x7f, "erofs_inode_extended.mtime"],
  ["an mtime below -2^52", 39, 0x80, "erofs_inode_extended.mtime"],
  ["nanoseconds above 10^9", 43, 0xff, "erofs_inode_extended.mtimeNsec"],
] as const)
  test(`${what} is refused`, () => {
    const image = imageWith({ uid: 70_000 });
    const reader = open(image);
    const nid = reader.resolve("/f");
    image[inodeOffset(image, "/f") + at] = byte;
    assertFormatError(() => reader.inode(nid), field, /found/);
  });

test("NIDs outside the image are refused", () => {
  const reader = open(imageOf(dir()));
  for (const nid of [-1, 128, 2 ** 31, 2 ** 48, 2 ** 53, Number.NaN])
    assertFormatError(() => reader.inode(nid), "nid", /outside the image/);
});
