import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BLOCK_SIZE, type BlobRef, type Extent, HOLE, Inode, S_IFBLK, S_IFREG, setXattr } from "../../tree/index.ts";
import { ErofsWriteError, type ErofsWriteErrorCode } from "./errors.ts";
import { newDirectory, newFile, newInode, newLink, range } from "./test-trees.ts";
import { writeErofs } from "./write.ts";

// Each limit at its value and one past it: the first is written, the second is an error that names the path.

const write = (root: Inode, blobs: readonly BlobRef[] = []) => writeErofs({ root, blobs }, { layout: "devices" });
const inDirectory = (inode: Inode) => newDirectory({ "the dir": newDirectory({ f: inode }) });

function refuses(root: Inode, code: ErofsWriteErrorCode, path: string, text: RegExp, blobs: readonly BlobRef[] = []) {
  assert.throws(
    () => write(root, blobs),
    (error) => {
      assert.ok(error instanceof ErofsWriteError, String(error));
      assert.deepEqual([error.code, error.path], [code, path]);
      assert.match(error.message, text);
      return true;
    },
  );
}

const withXattrs = (xattrs: Record<string, string>) => {
  const file = newFile(0, []);
  for (const [name, value] of Object.entries(xattrs)) setXattr(file, name, value);
  return inDirectory(file);
};

test("file names: 255 bytes", () => {
  write(newDirectory({ ["n".repeat(255)]: newFile(0, []) }));
  const root = newDirectory({ d: newDirectory({ ["n".repeat(256)]: newFile(0, []) }) });
  refuses(root, "ERR_LIMIT", "/d", /name has 256 bytes, the format holds 255/);
});

test("names that cannot be in a directory", () => {
  for (const name of ["", ".", "..", "a/b", "a\0", "\u0100"]) {
    const root = newDirectory();
    root.children!.set(name, newFile(0, []));
    refuses(root, "ERR_BAD_TREE", "/", /cannot be a file name/);
  }
});

test("link targets: 1 to 4095 bytes", () => {
  write(inDirectory(newLink("t".repeat(4095))));
  refuses(inDirectory(newLink("t".repeat(4096))), "ERR_LIMIT", "/the\\x20dir/f", /target has 4096 bytes/);
  refuses(inDirectory(newLink("")), "ERR_BAD_TREE", "/the\\x20dir/f", /target has 0 bytes/);
});

test("xattr values: 65535 bytes", () => {
  write(withXattrs({ "user.a": "v".repeat(65_535) }));
  refuses(withXattrs({ "user.a": "v".repeat(65_536) }), "ERR_LIMIT", "/the\\x20dir/f", /user\.a has 65536 bytes/);
});

test("thousands of long xattr values that differ at their end are told apart quickly", { timeout: 20_000 }, () => {
  const root = newDirectory();
  const long = "v".repeat(60_000);
  for (const i of range(1000)) {
    const file = newFile(0, []);
    setXattr(file, "user.a", long + (i >> 1));
    root.children!.set(`f${i}`, file);
  }
  const { meta } = write(root);
  // Each value is there once: two files share it.
  assert.ok(meta.length > 500 * 60_000 && meta.length < 501 * 60_000 + 1_000_000, `${meta.length}`);
});

test("xattr names: 255 bytes, prefix included", () => {
  write(withXattrs({ [`user.${"n".repeat(250)}`]: "" }));
  refuses(withXattrs({ [`user.${"n".repeat(251)}`]: "" }), "ERR_LIMIT", "/the\\x20dir/f", /name has 256 bytes/);
});

test("xattr names without a prefix that the format knows", () => {
  for (const name of ["btrfs.compression", "system.nfs4_acl", "system.posix_acl_accessory", "user", ""])
    refuses(withXattrs({ [name]: "" }), "ERR_UNSUPPORTED", "/the\\x20dir/f", /has no prefix that the format knows/);
  for (const name of ["user.", "security.", "user.a\0b"])
    refuses(withXattrs({ [name]: "" }), "ERR_UNSUPPORTED", "/the\\x20dir/f", /no valid name/);
});

test("all xattrs of an inode: 262148 bytes", () => {
  const most = { "user.a": "v".repeat(65_531), "user.b": "v".repeat(65_531), "user.c": "v".repeat(65_531) };
  write(withXattrs({ ...most, "user.d": "v".repeat(65_523) }));
  const past = withXattrs({ ...most, "user.d": "v".repeat(65_524) });
  refuses(past, "ERR_LIMIT", "/the\\x20dir/f", /need 262152 bytes, the format holds 262148/);
});

test("blobs: 65535 of them, with digests", () => {
  const blobs = (count: number) => range(count).map(() => ({ digestHex: "a".repeat(64), blocks: 0 }));
  write(newDirectory(), blobs(65_535));
  refuses(newDirectory(), "ERR_LIMIT", "", /65536 blobs, the device table holds 65535/, blobs(65_536));
  for (const digestHex of ["", "A".repeat(64), "a".repeat(63)])
    refuses(newDirectory(), "ERR_BAD_TREE", "", /is not 64 hex digits/, [{ digestHex, blocks: 1 }]);
});

test("all blocks together: below 2^32", () => {
  const blob = (blocks: number) => [{ digestHex: "a".repeat(64), blocks }];
  assert.equal(write(newDirectory(), blob(2 ** 32 - 1 - 512)).totalBlocks, 2 ** 32 - 1);
  refuses(newDirectory(), "ERR_LIMIT", "", /take 4294967296 blocks/, blob(2 ** 32 - 512));
  refuses(newDirectory(), "ERR_LIMIT", "", /has 4294967296 blocks/, blob(2 ** 32));
});

test("chunks of one file: 2^25", () => {
  const size = (2 ** 25 + 1) * BLOCK_SIZE;
  const sparse = newFile(size, [
    { blob: 0, startBlock: 0, blocks: 1 },
    { blob: HOLE, startBlock: 0, blocks: 2 ** 25 },
  ]);
  const blobs = [{ digestHex: "a".repeat(64), blocks: 1 }];
  refuses(inDirectory(sparse), "ERR_LIMIT", "/the\\x20dir/f", /needs 33554433 chunks of 1 blocks/, blobs);
});

test("data that Linux would read from the wrong device, also with a hole between", () => {
  const blobs = ["a", "b"].map((c) => ({ digestHex: c.repeat(64), blocks: 20 }));
  const piece = (blob: number, startBlock: number, blocks: number) => ({ blob, startBlock, blocks });
  const file = (...extents: Extent[]) =>
    inDirectory(newFile(extents.reduce((sum, e) => sum + e.blocks, 0) * BLOCK_SIZE, extents));
  const text = /blob 1 from block 4 follows data of blob 0 up to that block number/;
  refuses(file(piece(0, 0, 4), piece(1, 4, 4)), "ERR_UNSUPPORTED", "/the\\x20dir/f", text, blobs);
  refuses(file(piece(0, 0, 4), piece(HOLE, 0, 4), piece(1, 4, 4)), "ERR_UNSUPPORTED", "/the\\x20dir/f", text, blobs);
  write(file(piece(0, 0, 4), piece(1, 5, 4)), blobs);
  write(file(piece(0, 0, 4), piece(0, 4, 4)), blobs);
  write(file(piece(1, 0, 4), piece(0, 8, 4), piece(1, 4, 4)), blobs);
  writeErofs({ root: file(piece(0, 0, 4), piece(1, 4, 4)), blobs }, { layout: "flat" });
});

test("numbers: owners, times, device numbers, sizes", () => {
  const set = (mode: number, fields: Partial<Inode>) => inDirectory(newInode(mode, fields));
  const U32 = 0xffffffff;
  write(set(S_IFREG, { uid: U32, gid: U32, mtimeNanos: 999_999_999, mtimeSeconds: -Number.MAX_SAFE_INTEGER }));
  const size = 2 ** 52;
  write(set(S_IFREG, { size, extents: [{ blob: HOLE, startBlock: 0, blocks: size / BLOCK_SIZE }] }));
  write(set(S_IFBLK, { rdevMajor: 0xfff, rdevMinor: 0xfffff }));
  for (const [mode, fields] of [
    [S_IFREG, { uid: U32 + 1 }],
    [S_IFREG, { gid: -1 }],
    [S_IFREG, { uid: 0.5 }],
    [S_IFREG, { mtimeNanos: 1_000_000_000 }],
    [S_IFREG, { mtimeSeconds: 2 ** 53 }],
    [S_IFREG, { mtimeSeconds: Number.NaN }],
    [S_IFREG, { size: -1 }],
    [S_IFREG, { size: size + 1 }],
    [S_IFREG, { mode: S_IFREG | 0x10000 }],
    [S_IFBLK, { rdevMajor: 0x1000 }],
    [S_IFBLK, { rdevMinor: 0x100000 }],
  ] as const)
    refuses(set(mode, fields), "ERR_LIMIT", "/the\\x20dir/f", /one of them is outside/);
});

test("trees that break their own rules", () => {
  const extent = { blob: 0, startBlock: 0, blocks: 2 };
  const blobs = [{ digestHex: "a".repeat(64), blocks: 2 }];
  const bad = (file: Inode, text: RegExp) => refuses(inDirectory(file), "ERR_BAD_TREE", "/the\\x20dir/f", text, blobs);
  write(inDirectory(newFile(8192, [extent])), blobs);
  bad(newFile(8193, [extent]), /8193 bytes are 3 blocks, the extents cover 2/);
  bad(newFile(4096, [extent]), /4096 bytes are 1 blocks, the extents cover 2/);
  bad(newFile(0, [extent]), /0 bytes are 0 blocks/);
  bad(newFile(1, []), /the extents cover 0/);
  bad(newFile(8192, [{ ...extent, startBlock: 1 }]), /blocks 1 to 3 of blob 0, which has 2/);
  bad(newFile(8192, [{ ...extent, startBlock: -1 }]), /blocks -1 to 1/);
  bad(newFile(8192, [{ ...extent, blob: 1 }]), /names blob 1, the tree has 1/);
  bad(newFile(8192, [extent, { ...extent, blocks: 0 }]), /blocks 0 to 0/);
  bad(newInode(S_IFREG, { size: 2, inlineData: new Uint8Array(3) }), /2 bytes, but 3 of inline data/);
  bad(newInode(S_IFREG, { size: 8192, inlineData: new Uint8Array(8192), extents: [extent] }), /and 1 extents/);
});

test("what is no file, and a directory with two names", () => {
  refuses(inDirectory(new Inode(0o644)), "ERR_BAD_TREE", "/the\\x20dir/f", /mode 0644 has no known file type/);
  refuses(newFile(0, []), "ERR_BAD_TREE", "/", /root is not a directory/);
  const shared = newDirectory();
  refuses(newDirectory({ a: shared, b: newDirectory({ c: shared }) }), "ERR_BAD_TREE", "/a", /second name, \/b\/c/);
  const loop = newDirectory();
  loop.children!.set("self", loop);
  refuses(newDirectory({ loop }), "ERR_BAD_TREE", "/loop", /second name, \/loop\/self/);
});

test("the path of an error far down is cut short", () => {
  let dir = newDirectory({ f: newLink("") });
  for (let i = 0; i < 10_000; i++) dir = newDirectory({ d: dir });
  refuses(dir, "ERR_BAD_TREE", `/…/${"d/".repeat(63)}f`, /target has 0 bytes/);
});
