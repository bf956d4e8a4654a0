import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../bytes/index.ts";
import { DmIoctl, DmTargetSpec } from "./format.ts";
import { createdMinor, removeDevice, verityDevice } from "./index.ts";

// Offsets and numbers typed a second time on purpose, from linux/dm-ioctl.h; what `strace dmsetup` shows.
for (const [field, offset] of [
  ["dataSize", 12],
  ["targetCount", 20],
  ["flags", 28],
  ["dev", 40],
  ["deviceName", 48],
  ["uuid", 176],
] as const)
  test(`dm_ioctl.${field} lies at byte ${offset}`, () => assert.equal(DmIoctl.at[field], offset));

const verity = { dataBlocks: 300, rootHex: "ab".repeat(32) };

test("a device is created, gets its table, and is resumed", () => {
  const [create, load, resume] = verityDevice("part-0", "/dev/part0", verity, 3);
  assert.deepEqual(
    [create, load, resume].map((request) => request.command),
    [0xc138fd03, 0xc138fd09, 0xc138fd06],
  );
  const text = load.bytes.toString("latin1", DmIoctl.size + DmTargetSpec.size).replace(/\0+$/, "");
  assert.equal(
    text,
    `1 /dev/part0 /dev/part0 4096 4096 300 301 sha256 ${"ab".repeat(32)} ${"0".repeat(64)}`,
    "the tree comes behind the superblock",
  );
  const target = DmTargetSpec.view(load.bytes, DmIoctl.size);
  assert.equal(target.length, 2400, "sectors");
  assert.equal((DmIoctl.size + target.next) % 8, 0);
  assert.equal(DmIoctl.view(load.bytes).flags, 1, "dm-verity refuses tables that are not read-only");
  for (const { bytes } of [create, load, resume]) {
    assert.equal(DmIoctl.view(bytes).dataSize, bytes.length);
    assert.equal(bytes.toString("latin1", 48, 55), "part-0\0");
  }
});

test("minor numbers travel as the kernel packs them", () => {
  for (const minor of [0, 7, 255, 256, 4095, 0xfffff]) {
    const [create] = verityDevice("x", "7:1", verity, minor);
    assert.equal(createdMinor(create), minor);
  }
  const answered = removeDevice("x");
  DmIoctl.view(answered.bytes).dev = (253 << 8) | 12;
  assert.equal(createdMinor(answered), 12);
});

test("names and paths that would mean something else are refused", () => {
  for (const name of ["", "a/b", "a b", "x".repeat(128)]) assert.throws(() => removeDevice(name), FormatError);
  for (const device of ["", "/dev/a b", "/dev/a\\x20"])
    assert.throws(() => verityDevice("x", device, verity), FormatError);
});
