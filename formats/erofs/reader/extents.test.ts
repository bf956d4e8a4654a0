import assert from "node:assert/strict";
import { test } from "node:test";
import { type ByteSource, bytesSource } from "../../bytes/index.ts";
import { BLOCK_SIZE, HOLE } from "../../tree/index.ts";
import { DeviceSlot } from "../format.ts";
import { openErofs, readFileRange } from "./reader.ts";
import {
  assertFormatError,
  blob,
  dir,
  file,
  flatImageOf,
  imageOf,
  inlineFile,
  inodeOffset,
  open,
} from "./test-images.ts";

const hole = (blocks: number) => ({ blob: HOLE, startBlock: 0, blocks });
const run = (of: number, startBlock: number, blocks: number) => ({ blob: of, startBlock, blocks });

function extentsOf(image: Buffer, path = "/f") {
  const reader = open(image);
  return reader.extents(reader.inode(reader.resolve(path)));
}

test("runs, holes and several devices come back as they were, contiguous chunks as one", () => {
  const f = file(20 * BLOCK_SIZE - 7, run(0, 5, 4), run(1, 0, 4), hole(8), run(0, 9, 4));
  assert.deepEqual(extentsOf(imageOf(dir({ f }), [blob(13), blob(4, "b")])), [
    { device: 1, blkAddr: 5, blocks: 4 },
    { device: 2, blkAddr: 0, blocks: 4 },
    { device: HOLE, blkAddr: 0, blocks: 8 },
    { device: 1, blkAddr: 9, blocks: 4 },
  ]);
});

test("contiguous chunks of one device are one extent", () => {
  const f = file(12 * BLOCK_SIZE, run(0, 4, 4), run(0, 8, 4), hole(4));
  assert.deepEqual(extentsOf(imageOf(dir({ f }), [blob(12)])), [
    { device: 1, blkAddr: 4, blocks: 8 },
    { device: HOLE, blkAddr: 0, blocks: 4 },
  ]);
});

test("a chunk array of plain block addresses reads as the indexes do", () => {
  const image = flatImageOf(dir({ f: file(2 * BLOCK_SIZE, run(0, 0, 1), run(0, 3, 1)) }), [
    Buffer.alloc(4 * BLOCK_SIZE),
  ]);
  const indexed = extentsOf(image);
  const at = inodeOffset(image, "/f");
  const array = at + 32;
  assert.equal(image.readUInt16LE(at + 16), 0x20, "indexes of single blocks");
  image.writeUInt16LE(0, at + 16);
  const [first, second] = [image.readUInt32LE(array + 4), image.readUInt32LE(array + 12)];
  image.writeUInt32LE(first, array);
  image.writeUInt32LE(second, array + 4);
  assert.deepEqual(extentsOf(image), indexed);
  image.writeUInt32LE(0xffffffff, array);
  assert.deepEqual(extentsOf(image)[0], { device: HOLE, blkAddr: 0, blocks: 1 });
});

test("an address of the image itself that lies in a device's unified range means the device", () => {
  const f = file(3 * BLOCK_SIZE, run(0, 1, 1), run(1, 4, 2));
  const image = imageOf(dir({ f }), [blob(4), blob(9, "b")]);
  const expected = extentsOf(image);
  const array = inodeOffset(image, "/f") + 32;
  for (const [i, device] of [0, 1, 1].entries()) {
    const mapped = image.readUInt32LE(1152 + device * DeviceSlot.size + DeviceSlot.at.mappedBlkAddr);
    image.writeUInt16LE(0, array + i * 8 + 2);
    image.writeUInt32LE(image.readUInt32LE(array + i * 8 + 4) + mapped, array + i * 8 + 4);
  }
  assert.deepEqual(extentsOf(image), expected);
});

for (const [what, at, value, detail] of [
  ["a block past the device's end", 4, 3, /needs 2 blocks from block 3 of device 1, the device has 4/],
  ["a device that is not there", 2, 3, /device 3, there are 2 devices/],
  ["a block past the image's end", 2, 0, /of device 0, the device has/],
] as const)
  test(`${what} is refused`, () => {
    const image = imageOf(dir({ f: file(2 * BLOCK_SIZE, run(0, 2, 2)) }), [blob(4), blob(1, "b")]);
    const array = inodeOffset(image, "/f") + 32;
    if (at === 2) image.writeUInt32LE(77, array + 4);
    image.writeUInt16LE(value, array + at);
    assertFormatError(() => extentsOf(image), "extent", detail);
    assertFormatError(() => open(image).toTree(), "extent", detail);
  });

test("an unknown chunk format and a chunk array beyond the image are refused", () => {
  const image = imageOf(dir({ f: file(2 * BLOCK_SIZE, run(0, 2, 2)) }), [blob(4)]);
  const at = inodeOffset(image, "/f");
  image.writeUInt16LE(0x61, at + 16);
  assertFormatError(() => extentsOf(image), "erofs_inode_chunk_info.format", /0x61/);
  image.writeUInt16LE(0x20, at + 16);
  image.writeUInt32LE(0xffffffff, at + 8);
  assertFormatError(() => extentsOf(image), "chunk array", /needs 8388608 bytes/);
});

test("a compressed inode is refused by name, and the others are not", () => {
  const image = imageOf(dir({ f: file(BLOCK_SIZE, run(0, 0, 1)), g: file(0) }), [blob(1)]);
  image.writeUInt16LE(3 << 1, inodeOffset(image, "/f"));
  assertFormatError(() => extentsOf(image), "erofs_inode.format", /data layout 3 .* compressed data is not supported/);
  assert.deepEqual(extentsOf(image, "/g"), []);
});

test("inline data that would cross its block is refused", () => {
  const image = imageOf(dir({ f: inlineFile("hello") }));
  const reader = open(image);
  const inode = reader.inode(reader.resolve("/f"));
  assert.equal(Buffer.from(reader.inlineTail(inode)).toString(), "hello");
  image.writeUInt32LE(4096, inode.offset + 8);
  assertFormatError(() => reader.inlineTail(reader.inode(inode.nid)), "inline data", /4096 bytes .* cross the end/);
});

/** Two blobs of recognisable blocks, and a file over them with a hole. */
const CONTENTS = [1, 2].map((n) =>
  Buffer.from(Uint8Array.from({ length: 600 * BLOCK_SIZE }, (_, i) => n * 50 + (i >> 12))),
);
const SPLIT = file(1100 * BLOCK_SIZE - 5, run(0, 100, 400), hole(300), run(1, 0, 400));
const EXPECTED = Buffer.concat([
  CONTENTS[0]!.subarray(100 * BLOCK_SIZE, 500 * BLOCK_SIZE),
  Buffer.alloc(300 * BLOCK_SIZE),
  CONTENTS[1]!.subarray(0, 400 * BLOCK_SIZE - 5),
]);

function read(image: Buffer, devices: readonly ByteSource[], offset: number, length: number): Buffer {
  const reader = openErofs(bytesSource(image));
  const pieces = [...readFileRange(reader, reader.inode(reader.resolve("/f")), devices, offset, length)];
  for (const piece of pieces) assert.ok(piece.length > 0 && piece.length <= 2 ** 20);
  return Buffer.concat(pieces);
}

test("file data reads over extents, holes and devices, at any range, in bounded pieces", () => {
  const meta = imageOf(dir({ f: SPLIT }), [blob(600), blob(600, "b")]);
  const devices = CONTENTS.map((content) => bytesSource(content));
  const flat = flatImageOf(dir({ f: SPLIT }), CONTENTS);
  for (const [offset, length] of [
    [0, EXPECTED.length],
    [0, Number.POSITIVE_INFINITY],
    [5, 10],
    [400 * BLOCK_SIZE - 3, 300 * BLOCK_SIZE + 6],
    [EXPECTED.length - 1, 10],
    [EXPECTED.length, 10],
    [2 ** 40, 10],
    [4096, 0],
  ] as const) {
    const expected = EXPECTED.subarray(offset, offset + length);
    assert.ok(read(meta, devices, offset, length).equals(expected), `${offset}+${length}`);
    assert.ok(read(flat, [], offset, length).equals(expected), `flat ${offset}+${length}`);
  }
});

test("a blob that is not given is read from a flattened image, or refused by its tag", () => {
  const meta = imageOf(dir({ f: SPLIT }), [blob(600), blob(600, "b")]);
  const flattened = Buffer.alloc(2560 * BLOCK_SIZE);
  flattened.set(meta);
  for (const [i, { mappedBlkAddr }] of open(meta).devices.entries())
    flattened.set(CONTENTS[i]!, mappedBlkAddr * BLOCK_SIZE);
  assert.ok(read(flattened, [], 0, EXPECTED.length).equals(EXPECTED));
  assertFormatError(() => read(meta, [], 0, 10), "device table", /device 1 \(tag a{64}\), which was not given/);
});
