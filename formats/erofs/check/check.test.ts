import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../bytes/index.ts";
import { BLOCK_SIZE, HOLE, newWhiteout, setXattr } from "../../tree/index.ts";
import { InodeCompact } from "../format.ts";
import {
  blob,
  dir,
  file,
  imageOf,
  inlineFile,
  inodeOffset,
  open,
  patchSuperblock,
  symlink,
} from "../reader/test-images.ts";
import { checkErofs, imageStats } from "./check.ts";

/** One of each, with two blobs, a shared xattr, a hard link and a directory of several blocks. */
function sample(): Buffer {
  const linked = file(3 * BLOCK_SIZE, { blob: 0, startBlock: 2, blocks: 1 }, { blob: 1, startBlock: 0, blocks: 2 });
  const again = file(BLOCK_SIZE, { blob: 1, startBlock: 1, blocks: 1 });
  const sparse = file(9 * BLOCK_SIZE, { blob: HOLE, startBlock: 0, blocks: 9 });
  sparse.mtimeSeconds = 5;
  for (const inode of [linked, again]) setXattr(inode, "user.shared", "s".repeat(50));
  setXattr(sparse, "user.own", "o");
  const big = dir(Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`entry-${i}`, file(0)])));
  const sub = dir({ link: linked, again, inner: dir() });
  const root = dir({
    again,
    big,
    inline: inlineFile("inline"),
    linked,
    sparse,
    sub,
    sym: symlink("sub"),
    w: newWhiteout(),
  });
  return imageOf(root, [blob(4, "1"), blob(2, "2")]);
}

const at = (image: Buffer, path: string) => inodeOffset(image, path);
/** Byte offset of the entry `index` of an inlined directory. */
const direntAt = (image: Buffer, path: string, index: number) => {
  const reader = open(image);
  return reader.inode(reader.resolve(path)).tailOffset + index * 12;
};
const chunksAt = (image: Buffer, path: string) => {
  const reader = open(image);
  return Math.ceil(reader.inode(reader.resolve(path)).tailOffset / 8) * 8;
};

function check(image: Buffer, strict = true) {
  return checkErofs(bytesSource(image), { strict });
}

test("a written image has no problem", () => {
  assert.deepEqual(check(sample()).problems, []);
});

test("any change of the metadata shows by the UUID", () => {
  const image = sample();
  const checkAll = () => checkErofs(bytesSource(image), { strict: true, content: true }).problems;
  assert.deepEqual(checkAll(), []);
  // The owner of a file, beyond the block that the checksum covers: nothing else tells that it was another.
  const owner = at(image, "/big/entry-599") + InodeCompact.at.uid;
  image.writeUInt16LE(4711, owner);
  assert.deepEqual(check(image).problems, []);
  const [problem, ...others] = checkAll();
  assert.deepEqual(others, []);
  assert.equal(problem?.field, "erofs_super_block.uuid");
  assert.match(problem?.detail ?? "", /found [0-9a-f]{32}, the metadata has [0-9a-f]{32}: some of it has changed/);
});

test("statistics count what the sample holds", () => {
  const image = sample();
  const stats = imageStats(open(image));
  assert.deepEqual(check(image).stats, stats);
  const { devices, metadataBytes, ...rest } = stats;
  assert.deepEqual(rest, {
    inodes: 610,
    regularFiles: 604,
    directories: 4,
    symlinks: 1,
    charDevices: 1,
    blockDevices: 0,
    fifos: 0,
    sockets: 0,
    names: 611,
    compactInodes: 609,
    extendedInodes: 1,
    flatPlain: 601,
    flatInline: 6,
    chunkBased: 3,
    compressed: 0,
    inodesWithXattrs: 3,
    xattrs: 3,
    sharedXattrs: 1,
    extents: 4,
    holeBytes: 9 * BLOCK_SIZE,
    logicalBytes: 13 * BLOCK_SIZE + 6,
    inlineBytes: 6,
    storedBytes: 3 * BLOCK_SIZE,
  });
  assert.ok(metadataBytes > 600 * 32 && metadataBytes < image.length);
  assert.deepEqual(
    devices.map(({ referencedBlocks, usedBlocks, dedupedBytes }) => [referencedBlocks, usedBlocks, dedupedBytes]),
    [
      [0, 0, 0],
      [1, 1, 0],
      [3, 2, BLOCK_SIZE],
    ],
  );
});

interface Damage {
  readonly what: string;
  readonly field: string;
  readonly path: string;
  readonly detail: RegExp;
  /** Only an image of this project has to be without it. */
  readonly strictOnly?: true;
  damage(image: Buffer): void;
}

const DAMAGES: readonly Damage[] = [
  {
    what: "a wrong checksum",
    field: "erofs_super_block.checksum",
    path: "",
    detail: /found 0x.*, computed 0x/,
    damage: (b) => b.writeUInt32LE(1, 1028),
  },
  {
    what: "devices that overlap",
    field: "erofs_deviceslot.mappedBlkAddr",
    path: "",
    detail: /found block 512, the device before it ends at block 516/,
    damage: (b) => b.writeUInt32LE(512, 1152 + 128 + 68),
  },
  {
    what: "a link count too high",
    field: "erofs_inode.nlink",
    path: "/linked",
    detail: /found 7, its names make 2/,
    damage: (b) => b.writeUInt16LE(7, at(b, "/linked") + 6),
  },
  {
    what: "a directory's link count that misses a subdirectory",
    field: "erofs_inode.nlink",
    path: "/sub",
    detail: /found 2, its names make 3/,
    damage: (b) => b.writeUInt16LE(2, at(b, "/sub") + 6),
  },
  {
    what: "an entry of the wrong type",
    field: "erofs_dirent.fileType",
    path: "/sub/inner",
    detail: /found 1, expected 2 for mode 040755/,
    damage: (b) => b.writeUInt8(1, direntAt(b, "/sub", 3) + 10),
  },
  {
    what: "a wrong ..",
    field: "erofs_dirent.nid",
    path: "/sub/inner/..",
    detail: /for \.\., expected/,
    damage: (b) => b.writeUInt32LE(open(b).rootNid, direntAt(b, "/sub/inner", 1)),
  },
  {
    what: "a directory without .",
    field: "erofs_dirent",
    path: "/sub/inner",
    detail: /has no \./,
    damage: (b) => {
      b.write("-", direntAt(b, "/sub/inner", 0) + 24, "latin1");
      b.writeUInt32LE(open(b).resolve("/w"), direntAt(b, "/sub/inner", 0));
    },
  },
  {
    what: "a chunk past the end of its blob",
    field: "extent",
    path: "/linked",
    detail: /1 blocks from block 9 of device 1, the device has 4/,
    damage: (b) => b.writeUInt32LE(9, chunksAt(b, "/linked") + 4),
  },
  {
    what: "a file in the middle of the metadata",
    field: "metadata",
    path: "/big",
    detail: /file data at bytes .* overlaps it/,
    damage: (b) => {
      const reader = open(b);
      b.writeUInt16LE(0, chunksAt(b, "/linked") + 2);
      b.writeUInt32LE(reader.inode(reader.resolve("/big")).u, chunksAt(b, "/linked") + 4);
    },
  },
  {
    what: "a mode without a type",
    field: "erofs_inode.mode",
    path: "/sub/inner",
    detail: /found 0755/,
    damage: (b) => b.writeUInt16LE(0o755, at(b, "/sub/inner") + 4),
  },
  {
    what: "compressed data",
    field: "erofs_inode.format",
    path: "/sparse",
    detail: /compressed data is not supported/,
    damage: (b) => b.writeUInt16LE(b.readUInt16LE(at(b, "/sparse")) - 8 + 6, at(b, "/sparse")),
  },
  {
    what: "a broken xattr",
    field: "erofs_xattr_entry",
    path: "/sparse",
    detail: /do not fit/,
    damage: (b) => b.writeUInt8(200, at(b, "/sparse") + 64 + 12),
  },
  {
    what: "an empty symlink",
    field: "erofs_inode.size",
    path: "/sym",
    detail: /found 0 for a symlink/,
    damage: (b) => b.writeUInt32LE(0, at(b, "/sym") + 8),
  },
  {
    what: "a device with a size",
    field: "erofs_inode.size",
    path: "/w",
    detail: /found 5 for a device/,
    damage: (b) => b.writeUInt32LE(5, at(b, "/w") + 8),
  },
  {
    what: "names out of order",
    field: "erofs_dirent name",
    path: "/sub/",
    detail: /out of byte order/,
    damage: (b) => b.write("zgain", direntAt(b, "/sub", 0) + 5 * 12 + 3, "latin1"),
  },
  {
    what: "a wrong inode count",
    field: "erofs_super_block.inos",
    path: "",
    detail: /found 3, the root leads to 610/,
    strictOnly: true,
    damage: (b) => patchSuperblock(b, "inos", 3),
  },
  {
    what: "a reserved byte of an extended inode",
    field: "erofs_inode_extended.reserved2",
    path: "/sparse",
    detail: /found 0x1, expected zero/,
    strictOnly: true,
    damage: (b) => b.writeUInt8(1, at(b, "/sparse") + 63),
  },
  {
    what: "a reserved byte of a compact inode",
    field: "erofs_inode_compact.reserved2",
    path: "/inline",
    detail: /found 0x1, expected zero/,
    strictOnly: true,
    damage: (b) => b.writeUInt8(1, at(b, "/inline") + 28),
  },
  {
    what: "a reserved byte of a chunk index",
    field: "erofs_inode_chunk_index.advise",
    path: "/linked",
    detail: /found 9/,
    strictOnly: true,
    damage: (b) => b.writeUInt16LE(9, chunksAt(b, "/linked") + 8),
  },
  {
    what: "a reserved byte of a directory entry",
    field: "erofs_dirent.reserved",
    path: "/sub",
    detail: /found 1/,
    strictOnly: true,
    damage: (b) => b.writeUInt8(1, direntAt(b, "/sub", 2) + 11),
  },
  {
    what: "bytes in the boot area",
    field: "boot area",
    path: "",
    detail: /found 0x7f/,
    strictOnly: true,
    damage: (b) => b.writeUInt8(0x7f, 100),
  },
  {
    what: "a device without a digest",
    field: "erofs_deviceslot.tag",
    path: "",
    detail: /expected 64 hex digits/,
    strictOnly: true,
    damage: (b) => b.write("/dev/sda", 1152, "latin1"),
  },
];

for (const { what, field, path, detail, strictOnly, damage } of DAMAGES)
  test(`${what} is found at its path`, () => {
    const image = sample();
    damage(image);
    if (field !== "erofs_super_block.checksum") patchSuperblock(image, "rootNid", open(image).rootNid);
    const { problems } = check(image);
    const found = problems.find((problem) => problem.field === field && detail.test(problem.detail));
    assert.ok(found !== undefined, JSON.stringify(problems, null, 1));
    assert.ok(path.endsWith("/") ? found.path.startsWith(path) : found.path === path, found.path);
    assert.equal(found.nid === -1, path === "");
    assert.ok(found.offset >= 0 && found.offset < image.length);
    assert.equal(check(image, false).problems.length === 0, strictOnly === true);
  });

test("one broken file does not hide the next, and the list has a limit", () => {
  const image = sample();
  for (let i = 0; i < 600; i++) image.writeUInt16LE(9, at(image, `/big/entry-${i}`) + 6);
  patchSuperblock(image, "rootNid", open(image).rootNid);
  const result = checkErofs(bytesSource(image), { maxProblems: 7 });
  assert.equal(result.problems.length, 7);
  assert.equal(result.problemCount, 600);
});

test("inodes that share bytes are found", () => {
  const image = sample();
  const reader = open(image);
  const [first, second] = ["/big/entry-1", "/big/entry-10"].map((path) => reader.inode(reader.resolve(path)));
  image.writeUInt16LE(9, first!.offset + 2);
  assert.equal(second!.offset, first!.offset + 32, "neighbours");
  const { problems } = check(image, false);
  assert.ok(
    problems.some(
      ({ field, path, detail }) => field === "metadata" && path === "/big/entry-10" && /overlap/.test(detail),
    ),
    JSON.stringify(problems),
  );
});

test("an image without a superblock is one problem without statistics", () => {
  const result = checkErofs(bytesSource(new Uint8Array(8192)));
  assert.deepEqual(
    result.problems.map(({ field, nid, path, offset }) => [field, nid, path, offset]),
    [["erofs_super_block.magic", -1, "", 1024]],
  );
  assert.equal(result.stats, null);
});

test("a cycle of directories is reported once and ends", () => {
  const image = sample();
  image.writeUInt32LE(open(image).resolve("/sub"), direntAt(image, "/sub", 3));
  const { problems } = check(image, false);
  assert.ok(problems.some(({ detail }) => /a directory that has another name already/.test(detail)));
});
