import assert from "node:assert/strict";
import { test } from "node:test";
import type { ByteString } from "../../bytes/index.ts";
import { dirBlockCount } from "./dirents.ts";
import { assertFormatError, dir, file, imageOf, open } from "./test-images.ts";

/** An image of one directory with these names, and its reader. */
function listing(names: readonly ByteString[]) {
  const empty = file(0);
  const image = imageOf(dir(Object.fromEntries(names.map((name) => [name, empty]))));
  const reader = open(image);
  const root = reader.inode(reader.rootNid);
  return { image, reader, root };
}

/** Many names around the places where order is subtle: `.` and `..`, high bytes, prefixes. */
const NAMES = [
  ...Array.from({ length: 3000 }, (_, i) => `name-${(i * 7919) % 3000}-${"x".repeat(i % 50)}`),
  "!",
  "-",
  "...",
  ".a",
  "..b",
  "\xff\xfe",
  "\x80",
  "n".repeat(255),
  "name",
  "name-",
];

test("readdir gives every name once, in byte order, with the dots", () => {
  const { reader, root } = listing(NAMES);
  assert.ok(dirBlockCount(root) > 20);
  const found = [...reader.readdir(root)].map(({ name }) => name);
  assert.deepEqual(found, [...NAMES, ".", ".."].sort());
});

test("lookup finds every name and nothing else, in directories of every number of blocks", () => {
  for (const count of [0, 1, 2, 10, 100, 300, NAMES.length]) {
    const names = NAMES.slice(NAMES.length - count);
    const { reader, root } = listing(names);
    for (const name of [...names, ".", ".."]) assert.equal(reader.lookup(root, name)?.name, name);
    for (const absent of ["", "\0", "a", "name-1", "zzz", "\xff\xff", "n".repeat(254), "n".repeat(256)])
      if (!names.includes(absent)) assert.equal(reader.lookup(root, absent), undefined, absent);
  }
});

/** Offset of the root's only directory block in an image of a few names. */
function smallDirectory() {
  const { image, reader, root } = listing(["a", "bb", "ccc"]);
  const at = root.tailOffset;
  assert.equal(image.readUInt16LE(at + 8), 5 * 12, "five dirents in the inline block");
  return { image, reader, root, at };
}

for (const [what, damage, detail] of [
  ["a first name inside the dirents", (b: Buffer) => b.writeUInt16LE(11, 8), /found 11, expected a multiple of 12/],
  ["a first name beyond the block", (b: Buffer) => b.writeUInt16LE(12 * 50, 8), /found 600, expected a multiple/],
  ["no dirents at all", (b: Buffer) => b.writeUInt16LE(0, 8), /found 0, expected/],
  ["a name that ends before it starts", (b: Buffer) => b.writeUInt16LE(61, 12 * 2 + 8), /the name takes/],
  ["an empty name", (b: Buffer) => b.writeUInt16LE(61, 12 * 2 + 8), /the name takes 0 bytes/],
  ["a name beyond the block", (b: Buffer) => b.writeUInt16LE(5000, 12 * 3 + 8), /the name takes/],
  ["a slash in a name", (b: Buffer) => b.writeUInt8(0x2f, 64), /a slash 64 bytes into the block/],
  ["a zero byte in a name", (b: Buffer) => b.writeUInt8(0, 64), /a zero byte 64 bytes into the block/],
] as const)
  test(`${what} is refused`, () => {
    const { image, reader, root, at } = smallDirectory();
    damage(image.subarray(at));
    assertFormatError(() => [...reader.readdir(root)], "erofs_dirent.nameOff", detail);
    assertFormatError(() => reader.toTree(), "erofs_dirent.nameOff", detail);
  });

test("names out of order and names that come twice are refused", () => {
  const { image, reader, root, at } = smallDirectory();
  image.write("a", at + 60 + 3, "latin1"); // `.`, `..`, then `a`
  image.write("aa", at + 60 + 4, "latin1");
  assert.deepEqual(
    [...reader.readdir(root)].map(({ name }) => name),
    [".", "..", "a", "aa", "ccc"],
  );
  image.write("zz", at + 60 + 4, "latin1");
  assertFormatError(() => [...reader.readdir(root)], "erofs_dirent name", /out of byte order/);
  image.write("..", at + 60 + 4, "latin1");
  assertFormatError(() => [...reader.readdir(root)], "erofs_dirent name", /out of byte order/);
  const twice = listing(["aa", "ab"]);
  twice.image.write("aa", twice.root.tailOffset + 4 * 12 + 5, "latin1");
  assertFormatError(() => twice.reader.toTree(), "erofs_dirent name", /comes twice/);
});

test("a NID above 2^53 is refused", () => {
  const { image, reader, at } = smallDirectory();
  image.writeUInt32LE(0xffffffff, at + 2 * 12 + 4);
  assertFormatError(() => reader.toTree(), "erofs_dirent.nid", /below 2\^53/);
});
