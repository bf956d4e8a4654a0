import assert from "node:assert/strict";
import { test } from "node:test";
import * as fuse from "./index.ts";

// Offsets typed a second time on purpose, from fuse.h.
const OFFSETS = [
  [fuse.InHeader, "nodeid", 16],
  [fuse.InHeader, "totalExtlen", 36],
  [fuse.Attr, "mode", 60],
  [fuse.Attr, "flags", 84],
  [fuse.EntryOut, "attr", 40],
  [fuse.AttrOut, "attr", 16],
  [fuse.InitOut, "maxPages", 28],
  [fuse.InitOut, "flags2", 32],
  [fuse.InitOut, "maxStackDepth", 36],
  [fuse.SetattrIn, "atimensec", 56],
  [fuse.SetattrIn, "gid", 80],
  [fuse.LkIn, "type", 32],
  [fuse.LkIn, "lkFlags", 40],
  [fuse.IoctlIn, "outSize", 28],
  [fuse.CopyFileRangeIn, "offOut", 32],
  [fuse.SetupmappingIn, "moffset", 32],
  [fuse.Dirent, "namelen", 16],
  [fuse.StatxOut, "stat", 32],
] as const;

for (const [struct, field, offset] of OFFSETS)
  test(`${struct.name}.${field} lies at byte ${offset}`, () =>
    assert.equal((struct.at as Record<string, number>)[field], offset));

test("directory entries are padded to 8 bytes", () => {
  assert.deepEqual([1, 8, 9].map(fuse.direntBytes), [32, 32, 40]);
  assert.equal(fuse.direntplusBytes(1), 160);
});

test("times before 1970 keep their sign", () => {
  const bytes = new Uint8Array(fuse.Attr.size);
  const attr = fuse.Attr.view(bytes);
  for (const seconds of [-1, -(2 ** 40), 2 ** 52, 0]) {
    attr.mtime = seconds;
    assert.equal(attr.mtime, seconds);
  }
  attr.mtime = -1;
  assert.equal(new DataView(bytes.buffer).getBigInt64(fuse.Attr.at.mtime, true), -1n);
});
