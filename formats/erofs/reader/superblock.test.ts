import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../bytes/index.ts";
import { openErofs } from "./reader.ts";
import { assertFormatError, blob, dir, file, imageOf, open, patchSuperblock } from "./test-images.ts";

test("a written image has the checksum that is verified", () => {
  assert.ok(openErofs(bytesSource(imageOf(dir()))).superblock.checksum !== null);
});

test("superblock and device table of a written image decode", () => {
  const root = dir({ a: file(5000, { blob: 1, startBlock: 3, blocks: 2 }) });
  const reader = open(imageOf(root, [blob(7, "1"), blob(9, "2")]));
  assert.deepEqual(
    reader.devices.map(({ tag, blocks }) => [tag, blocks]),
    [
      ["1".repeat(64), 7],
      ["2".repeat(64), 9],
    ],
  );
  assert.equal(reader.superblock.inos, 2);
  assert.equal(reader.superblock.extraDevices, 2);
  assert.match(reader.superblock.uuidHex, /^[0-9a-f]{32}$/);
});

test("a wrong magic names both", () => {
  const image = imageOf(dir());
  image.writeUInt32LE(0x12345678, 1024);
  assertFormatError(
    () => open(image),
    "erofs_super_block.magic",
    /at byte 1024: found 0x12345678, expected 0xe0f5e1e2/,
  );
});

test("a flipped bit under the checksum is found, unless told not to look", () => {
  const image = imageOf(dir());
  image[4000]! ^= 1;
  assertFormatError(
    () => openErofs(bytesSource(image)),
    "erofs_super_block.checksum",
    /at byte 1028: found 0x.*, computed 0x/,
  );
  assert.ok(open(image).rootNid > 0);
});

for (const [field, value, detail] of [
  ["blkSzBits", 9, /only 12/],
  ["blkSzBits", 255, /only 12/],
  ["featureIncompat", 0x80, /0x80 \(48-bit block addresses\)/],
  ["featureIncompat", 0x100, /0x100 \(metabox/],
  ["featureIncompat", 0x80000000, /found 0x80000000, which this reader does not know/],
  ["dirBlkBits", 1, /only 0/],
  ["buildTimeNsec", 1_000_000_000, /expected < 10\^9/],
  ["blocks", 2, /found 2 blocks of 4096 bytes, the image has 4096 bytes/],
] as const)
  test(`erofs_super_block.${field} ${value} is refused by name`, () => {
    const image = imageOf(dir());
    assert.equal(image.length, 4096);
    patchSuperblock(image, field, value);
    assertFormatError(() => open(image), `erofs_super_block.${field}`, detail);
  });

test("a device table outside the image is refused", () => {
  const image = imageOf(dir({ a: file(1, { blob: 0, startBlock: 0, blocks: 1 }) }), [blob(1)]);
  patchSuperblock(image, "devtSlotOff", 0xffff);
  assertFormatError(() => open(image), "input", /needs 128 bytes/);
  patchSuperblock(image, "devtSlotOff", 9);
  patchSuperblock(image, "extraDevices", 0xffff);
  assertFormatError(() => open(image), "input", /needs 8388480 bytes/);
});

test("an image cut anywhere in its first block is refused", () => {
  const image = imageOf(dir());
  for (const length of [0, 1, 1023, 1024, 1151, 1152, 4095])
    assert.throws(() => open(image.subarray(0, length)), { name: "FormatError", code: "ERR_TRUNCATED" }, `${length}`);
});

test("the root may be missing or no directory", () => {
  const image = imageOf(dir());
  patchSuperblock(image, "rootNid", 0xffff);
  assertFormatError(() => open(image).toTree(), "nid", /found 65535, whose inode would lie outside/);
  const file = imageOf(dir());
  const { offset } = open(file).inode(open(file).rootNid);
  file.writeUInt16LE(0o100644, offset + 4);
  assertFormatError(() => open(file).toTree(), "erofs_super_block.rootNid", /is no directory/);
});
