import assert from "node:assert/strict";
import { test } from "node:test";
import { Inode, S_IFREG, setXattr } from "../../tree/index.ts";
import { SUPER_OFFSET, SuperBlock } from "../format.ts";
import { assertFormatError, dir, imageOf, inodeOffset, open, patchSuperblock } from "./test-images.ts";

function withXattrs(xattrs: Record<string, string>): Inode {
  const inode = new Inode(S_IFREG | 0o644);
  for (const [name, value] of Object.entries(xattrs)) setXattr(inode, name, value);
  return inode;
}

const COMMON = { "security.capability": "\x01\0\0\x02\xff", "user.shared": "s".repeat(100) };

test("inline and shared xattrs come back sorted, with their prefixes and binary values", () => {
  const own = {
    ...COMMON,
    "system.posix_acl_access": "\x02\0\0\0",
    "system.posix_acl_default": "",
    "trusted.overlay.opaque": "y",
    "user.a": "",
    "user.\xff": "\0",
  };
  const reader = open(imageOf(dir({ a: withXattrs(COMMON), b: withXattrs(COMMON), c: withXattrs(own) })));
  const xattrsOf = (path: string) => reader.xattrs(reader.inode(reader.resolve(path)));
  const sorted = (xattrs: Record<string, string>) =>
    Object.keys(xattrs)
      .sort()
      .map((name) => ({ name, value: xattrs[name]! }));
  assert.deepEqual(xattrsOf("/a"), sorted(COMMON));
  assert.deepEqual(xattrsOf("/c"), sorted(own));
  assert.deepEqual(reader.xattrs(reader.inode(reader.rootNid)), []);
  assert.equal(xattrsOf("/a"), xattrsOf("/b"), "equal bodies are decoded once");
});

/** An image whose file `f` has one inline xattr, and where its xattr body starts. */
function oneInline() {
  const image = imageOf(dir({ f: withXattrs({ "user.abc": "value" }) }));
  const reader = open(image);
  const inode = reader.inode(reader.resolve("/f"));
  assert.equal(inode.xattrBytes, 12 + 12, "header, then entry of 4 + 3 + 5");
  return { image, reader, inode, body: inode.xattrOffset };
}

for (const [what, damage, field, detail] of [
  ["too many shared ids", (b: Buffer) => b.writeUInt8(4, 4), "erofs_xattr_ibody_header.sharedCount", /holds at most 3/],
  [
    "a shared id outside the image",
    (b: Buffer) => {
      b.writeUInt8(3, 4);
      b.writeUInt32LE(0xffffffff, 12);
    },
    "shared xattr id",
    /found 4294967295/,
  ],
  ["a value beyond the body", (b: Buffer) => b.writeUInt16LE(60_000, 14), "erofs_xattr_entry", /do not fit in the 12/],
  ["an unknown name index", (b: Buffer) => b.writeUInt8(9, 13), "erofs_xattr_entry.nameIndex", /found 9/],
  [
    "a long prefix that is not there",
    (b: Buffer) => b.writeUInt8(0x80, 13),
    "erofs_xattr_entry.nameIndex",
    /found 128/,
  ],
  ["a name after an ACL index", (b: Buffer) => b.writeUInt8(2, 13), "erofs_xattr_entry.nameIndex", /found 2/],
] as const)
  test(`${what} is refused`, () => {
    const { image, reader, inode, body } = oneInline();
    damage(image.subarray(body));
    assertFormatError(() => reader.xattrs(inode), field, detail);
    assertFormatError(() => reader.toTree(), field, detail);
  });

test("a name that an inode has twice is refused", () => {
  const image = imageOf(dir({ f: withXattrs({ "user.ab": "1", "user.ac": "1" }) }));
  const reader = open(image);
  const inode = reader.inode(reader.resolve("/f"));
  image.write("ab", inode.xattrOffset + 12 + 8 + 4, "latin1");
  assertFormatError(() => reader.xattrs(inode), "erofs_xattr_entry", /a name twice/);
});

test("a body that leaves the image is refused", () => {
  const { image, reader } = oneInline();
  image.writeUInt16LE(0xffff, inodeOffset(image, "/f") + 2);
  assertFormatError(() => reader.xattrs(reader.inode(reader.resolve("/f"))), "input", /needs 262148 bytes/);
});

/** Gives `image` a table of long prefixes in its last bytes. */
function addPrefix(image: Buffer, base: number, infix: string): void {
  const at = image.length - 64;
  image.writeUInt16LE(1 + infix.length, at);
  image.writeUInt8(base, at + 2);
  image.write(infix, at + 3, "latin1");
  const sb = SuperBlock.view(image, SUPER_OFFSET);
  sb.xattrPrefixCount = 1;
  sb.xattrPrefixStart = at / 4;
  patchSuperblock(image, "featureIncompat", sb.featureIncompat | 0x40);
}

test("long xattr name prefixes are expanded", () => {
  const { image, body } = oneInline();
  addPrefix(image, 4, "overlay.");
  image.writeUInt8(0x80, body + 13);
  const reader = open(image);
  assert.deepEqual(reader.xattrs(reader.inode(reader.resolve("/f"))), [
    { name: "trusted.overlay.abc", value: "value" },
  ]);
});

test("long prefixes with an unknown base, of no length, or in the packed inode are refused", () => {
  const { image } = oneInline();
  addPrefix(image, 99, "x");
  assertFormatError(() => open(image), "erofs_xattr_long_prefix.baseIndex", /found 99/);
  image.writeUInt16LE(0, image.length - 64);
  assertFormatError(() => open(image), "xattr prefix length", /found 0/);
  patchSuperblock(image, "packedNid", 40);
  assertFormatError(() => open(image), "xattr prefixes", /packed inode/);
});

test("padding entries are passed over", () => {
  const { image, reader, inode, body } = oneInline();
  image.set([0, 0, 8, 0], body + 12);
  assert.deepEqual(reader.xattrs(inode), []);
});
