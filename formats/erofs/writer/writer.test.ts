import { strict as assert } from "node:assert";
import { test } from "node:test";
import { bytesSource } from "../../bytes/index.ts";
import { BLOCK_SIZE, HOLE, Inode, S_IFDIR, S_IFREG, setXattr, type Tree } from "../../tree/index.ts";
import { checkErofs } from "../check/index.ts";
import { superBlockChecksum } from "../crc32c.ts";
import { DeviceSlot, SuperBlock } from "../format.ts";
import { openErofs } from "../reader/index.ts";
import { everyKind, newDirectory, newFile, newInode, range, type Sample, USUAL_TIME } from "./test-trees.ts";
import { type WriteOptions, writeErofs } from "./write.ts";

const FLAT: WriteOptions = { layout: "flat" };
const DEVICES: WriteOptions = { layout: "devices" };
const DIGEST = "d".repeat(64);

const superBlock = (meta: Uint8Array) => SuperBlock.view(meta, 1024);
const treeOf = (root: Inode, blocks = 0): Tree => ({
  root,
  blobs: blocks === 0 ? [] : [{ digestHex: DIGEST, blocks }],
});

/** The same tree with the entries of each directory added in the opposite order, and inodes of its own. */
function reversed({ tree, blobs }: Sample): Sample {
  const copies = new Map<Inode, Inode>();
  const copy = (inode: Inode): Inode => {
    let twin = copies.get(inode);
    if (twin === undefined) {
      const { children, type, ...fields } = Object.assign({}, inode) as Inode;
      twin = Object.assign(new Inode(inode.mode), fields);
      copies.set(inode, twin);
      for (const [name, child] of [...(inode.children ?? [])].reverse()) twin.children!.set(name, copy(child));
    }
    return twin;
  };
  return { tree: { root: copy(tree.root), blobs: tree.blobs }, blobs };
}

for (const options of [FLAT, DEVICES])
  test(`the order in which a tree was filled does not show (${options.layout})`, () => {
    const once = writeErofs(everyKind().tree, options);
    const again = writeErofs(reversed(everyKind()).tree, options);
    assert.ok(Buffer.from(once.meta).equals(again.meta));
    assert.equal(once.uuid, again.uuid);
  });

for (const options of [FLAT, DEVICES])
  test(`the checker finds nothing to say about a tree with something of everything (${options.layout})`, () => {
    const image = writeErofs(everyKind().tree, options);
    const source = Buffer.alloc(image.totalBlocks * BLOCK_SIZE);
    source.set(image.meta);
    const whole = options.layout === "flat" ? source : image.meta;
    assert.deepEqual(checkErofs(bytesSource(whole), { strict: options.layout === "devices" }).problems, []);
  });

test("an empty tree is one block: superblock and root", () => {
  const { meta, totalBlocks, inodes, blobBaseBlocks } = writeErofs(treeOf(newDirectory()), DEVICES);
  assert.deepEqual([meta.length, totalBlocks, inodes, blobBaseBlocks], [BLOCK_SIZE, 1, 1, []]);
  const sb = superBlock(meta);
  assert.deepEqual([sb.blocks, sb.inos, sb.rootNid, sb.featureIncompat, sb.extraDevices], [1, 1, 36, 0, 0]);
  assert.equal(sb.featureCompat, 3);
});

test("the superblock carries its checksum and the UUID, of version 8", () => {
  const { meta, uuid } = writeErofs(everyKind().tree, DEVICES);
  const sb = superBlock(meta);
  assert.equal(sb.checksum, superBlockChecksum(meta));
  assert.equal(uuid.replaceAll("-", ""), Buffer.from(sb.uuid).toString("hex"));
  assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("the UUID follows from metadata and blob digests, in both layouts", () => {
  const root = newDirectory({ f: newFile(1, [{ blob: 0, startBlock: 0, blocks: 1 }]) });
  const uuids = [FLAT, DEVICES].flatMap((options) =>
    [DIGEST, "e".repeat(64)].map((digestHex) => writeErofs({ root, blobs: [{ digestHex, blocks: 1 }] }, options).uuid),
  );
  assert.equal(new Set(uuids).size, 4);
});

test("blobs start at multiples of 2 MiB behind the metadata, and slots say where", () => {
  const blobs = [1, 512, 513, 7].map((blocks, i) => ({ digestHex: `${i}`.repeat(64), blocks }));
  const devices = writeErofs({ root: newDirectory(), blobs }, DEVICES);
  assert.deepEqual(devices.blobBaseBlocks, [512, 1024, 1536, 2560]);
  assert.equal(devices.totalBlocks, 2567);
  assert.equal(superBlock(devices.meta).blocks, 1);
  assert.equal(superBlock(devices.meta).extraDevices, 4);
  assert.equal(superBlock(devices.meta).featureIncompat, 8);
  blobs.forEach(({ digestHex, blocks }, i) => {
    const slot = DeviceSlot.view(devices.meta, superBlock(devices.meta).devtSlotOff * 128 + i * 128);
    assert.equal(Buffer.from(slot.tag).toString("latin1"), digestHex);
    assert.deepEqual([slot.blocks, slot.mappedBlkAddr], [blocks, devices.blobBaseBlocks[i]]);
  });
  const flat = writeErofs({ root: newDirectory(), blobs }, FLAT);
  assert.deepEqual([flat.blobBaseBlocks, flat.totalBlocks], [devices.blobBaseBlocks, 2567]);
  assert.deepEqual([superBlock(flat.meta).blocks, superBlock(flat.meta).extraDevices], [2567, 0]);
});

const inodeOf = (name: string, inode: Inode, blobBlocks = 0) => {
  const root = newDirectory({
    [name]: inode,
    ...Object.fromEntries(range(5).map((i) => [`usual-${i}`, newFile(0, [])])),
  });
  const reader = openErofs(bytesSource(writeErofs(treeOf(root, blobBlocks), DEVICES).meta));
  return { reader, inode: reader.inode(reader.resolve(`/${name}`)) };
};

test("an inode is compact exactly when that loses nothing", () => {
  const hole = (size: number) => [{ blob: HOLE, startBlock: 0, blocks: Math.ceil(size / BLOCK_SIZE) }];
  const cases: [string, boolean, Partial<Inode>][] = [
    ["usual", false, {}],
    ["uid 65535", false, { uid: 65535 }],
    ["uid 65536", true, { uid: 65536 }],
    ["gid 65535", false, { gid: 65535 }],
    ["gid 65536", true, { gid: 65536 }],
    ["size 2^32 - 1", false, { size: 2 ** 32 - 1, extents: hole(2 ** 32 - 1) }],
    ["size 2^32", true, { size: 2 ** 32, extents: hole(2 ** 32) }],
    ["another second", true, { mtimeSeconds: USUAL_TIME - 1 }],
    ["a nanosecond later", true, { mtimeNanos: 1 }],
  ];
  for (const [what, extended, fields] of cases)
    assert.equal(inodeOf("f", newInode(S_IFREG, fields)).inode.extended, extended, what);
});

test("link counts above 65535 make an inode extended", () => {
  for (const [links, extended] of [
    [65535, false],
    [65536, true],
  ] as const) {
    const file = newFile(0, []);
    const root = newDirectory(Object.fromEntries(range(links).map((i) => [`n${i}`, file])));
    const reader = openErofs(bytesSource(writeErofs(treeOf(root), FLAT).meta));
    const inode = reader.inode(reader.resolve("/n0"));
    assert.deepEqual([inode.nlink, inode.extended], [links, extended]);
  }
});

test("build time is the most common mtime, the earliest of equals, and never before 1970", () => {
  const at = (...times: [number, number][]) => {
    const root = newDirectory();
    for (const [i, [mtimeSeconds, mtimeNanos]] of times.entries())
      root.children!.set(`f${i}`, newInode(S_IFREG, { mtimeSeconds, mtimeNanos }));
    const sb = superBlock(writeErofs(treeOf(Object.assign(root, { mtimeSeconds: -9 })), FLAT).meta);
    return [sb.buildTime, sb.buildTimeNsec];
  };
  assert.deepEqual(at([5, 0], [7, 1], [7, 1]), [7, 1]);
  assert.deepEqual(at([7, 2], [7, 1]), [7, 1]);
  assert.deepEqual(at([7, 1], [5, 3], [5, 3], [7, 1]), [5, 3]);
  assert.deepEqual(at([-5, 0], [-5, 0], [3, 0]), [3, 0]);
  assert.deepEqual(at([-5, 0]), [0, 0]);
});

test("chunks are as large as the extents allow", () => {
  const extent = (startBlock: number, blocks: number, blob = 0) => ({ blob, startBlock, blocks });
  const cases: [number, number, ReturnType<typeof extent>[]][] = [
    [0, 1, [extent(3, 1)]],
    [1, 2, [extent(3, 2)]],
    [4, 9, [extent(0, 9)]],
    [4, 9, [extent(0, 4), extent(4, 5)]],
    [4, 9, [extent(0, 4, HOLE), extent(0, 5, HOLE)]],
    [2, 9, [extent(10, 4), extent(4, 5)]],
    [3, 24, [extent(10, 8), extent(50, 16)]],
    [0, 9, [extent(0, 3), extent(8, 6)]],
  ];
  for (const [bits, blocks, extents] of cases) {
    const { inode, reader } = inodeOf("f", newFile(blocks * BLOCK_SIZE, extents), 100);
    assert.deepEqual([inode.u & 0x1f, inode.u >> 5], [bits, 1], JSON.stringify(extents));
    const blockCount = reader.extents(inode).reduce((sum, e) => sum + e.blocks, 0);
    assert.equal(blockCount, blocks);
  }
});

test("the root's NID fits 16 bits behind any amount of devices and shared xattrs", () => {
  const root = newDirectory();
  for (let i = 0; i < 100; i++) {
    const value = `${i}`.padEnd(60_000, "v");
    for (const name of [`a${i}`, `b${i}`]) {
      const file = newFile(0, []);
      setXattr(file, "user.v", value);
      root.children!.set(name, file);
    }
  }
  const blobs = range(65_535).map(() => ({ digestHex: DIGEST, blocks: 0 }));
  const { meta } = writeErofs({ root, blobs }, DEVICES);
  const reader = openErofs(bytesSource(meta));
  assert.ok(meta.length > 14_000_000);
  assert.equal(reader.xattrs(reader.inode(reader.resolve("/b99")))[0]!.value, "99".padEnd(60_000, "v"));
  assert.equal(reader.devices.length, 65_535);
});

test("equal xattrs of several inodes are stored once", () => {
  const value = "v".repeat(3000);
  const root = newDirectory();
  for (let i = 0; i < 50; i++) {
    const file = newFile(0, []);
    setXattr(file, "user.v", value);
    root.children!.set(`f${i}`, file);
  }
  assert.ok(writeErofs(treeOf(root), FLAT).meta.length <= 3 * BLOCK_SIZE);
});

test("a tree 100,000 directories deep does not overflow the stack", () => {
  let dir = newDirectory();
  for (let i = 0; i < 100_000; i++) dir = newDirectory({ d: dir });
  assert.equal(writeErofs(treeOf(dir), FLAT).inodes, 100_001);
});

test("nothing of the tree is changed by writing it", () => {
  const { tree } = everyKind();
  const before = JSON.stringify(tree, mapsAsArrays);
  writeErofs(tree, DEVICES);
  assert.equal(JSON.stringify(tree, mapsAsArrays), before);
});

const mapsAsArrays = (_: string, value: unknown) => (value instanceof Map ? [...value] : value);

test("a directory keeps its children in byte order, with . and .. in their places", () => {
  const root = newInode(S_IFDIR | 0o755);
  for (const name of ["b", "!", "\xff", "-", "a", "A", "..."]) root.children!.set(name, newFile(0, []));
  const reader = openErofs(bytesSource(writeErofs(treeOf(root), FLAT).meta));
  const names = [...reader.readdir(reader.inode(reader.rootNid))].map((entry) => entry.name);
  assert.deepEqual(names, ["!", "-", ".", "..", "...", "A", "a", "b", "\xff"]);
});
