import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../bytes/index.ts";
import { Random } from "../bytes/testing.ts";
import * as vu from "./index.ts";

// Offsets typed a second time on purpose, from the specification and from QEMU's and libvhost-user's structures.
const OFFSETS = [
  [vu.Header, "size", 8],
  [vu.VringAddr, "used", 16],
  [vu.VringAddr, "available", 24],
  [vu.RegionDescription, "userAddress", 16],
  [vu.RegionDescription, "mmapOffset", 24],
  [vu.ConfigSpace, "flags", 8],
  [vu.Inflight, "queueSize", 18],
  [vu.ShmemMmap, "fdOffset", 8],
  [vu.ShmemMmap, "len", 24],
  [vu.ShmemMmap, "flags", 32],
  [vu.FsMessage, "cacheOffset", 64],
  [vu.FsMessage, "flags", 192],
  [vu.QueueRegion, "usedIdx", 14],
  [vu.DescState, "next", 6],
  [vu.DescState, "counter", 8],
] as const;
for (const [struct, field, offset] of OFFSETS)
  test(`${struct.name}.${field} lies at byte ${offset}`, () =>
    assert.equal((struct.at as Record<string, number>)[field], offset));

function header(request: number, size: number, flags = vu.VERSION): Uint8Array {
  const bytes = new Uint8Array(vu.Header.size);
  const view = vu.Header.view(bytes);
  view.request = request;
  view.flags = flags;
  view.size = size;
  return bytes;
}

test("a request's header tells what follows", () => {
  const decoded = vu.decodeRequest(header(vu.Request.SET_VRING_ADDR, 40, vu.VERSION | vu.FLAG_NEED_REPLY), 0);
  assert.deepEqual(
    [decoded.request, decoded.shape.name, decoded.bytes, decoded.needsReply],
    [9, "SET_VRING_ADDR", 40, true],
  );
});

test("sizes and descriptors are allowed to their limits and no further", () => {
  const { SET_MEM_TABLE, SET_CONFIG, SET_INFLIGHT_FD } = vu.Request;
  for (const [request, bytes, fds] of [
    [SET_MEM_TABLE, 8 + 8 * 32, 8],
    [SET_MEM_TABLE, 8, 0],
    [SET_CONFIG, 12 + vu.MAX_CONFIG_BYTES, 0],
    [SET_INFLIGHT_FD, 20, 1],
    [SET_INFLIGHT_FD, 24, 1],
  ] as const)
    assert.equal(vu.decodeRequest(header(request, bytes), fds).bytes, bytes);
  for (const [request, bytes, fds] of [
    [SET_MEM_TABLE, 8 + 8 * 32 + 1, 8],
    [SET_MEM_TABLE, 8 + 8 * 32, 9],
    [SET_MEM_TABLE, 7, 0],
    [SET_CONFIG, 12 + vu.MAX_CONFIG_BYTES + 1, 0],
    [SET_INFLIGHT_FD, 25, 1],
    [SET_INFLIGHT_FD, 24, 2],
    [0, 0, 0],
    [6, 16, 1],
    [0xffff_ffff, 0, 0],
  ] as const)
    assert.throws(() => vu.decodeRequest(header(request, bytes), fds), FormatError);
});

const REGION = { guestAddress: 0x1_0000_0000, bytes: 0x20_0000, userAddress: 0x7f00_1234_5000, fdOffset: 0x1000 };

function table(regions: readonly vu.Region[]): Uint8Array {
  const payload = new Uint8Array(vu.MemoryTable.size + regions.length * vu.RegionDescription.size);
  vu.MemoryTable.view(payload).numRegions = regions.length;
  for (const [i, region] of regions.entries())
    vu.encodeRegion(region, payload, vu.MemoryTable.size + i * vu.RegionDescription.size);
  return payload;
}

test("a memory table is read as it was written", () => {
  const regions = Array.from({ length: 8 }, (_, i) => ({
    ...REGION,
    guestAddress: i * 0x20_0000,
    userAddress: REGION.userAddress + i * 0x20_0000,
  }));
  assert.deepEqual(vu.decodeMemoryTable(table(regions)), regions);
  // Front-ends may send room for all eight, whatever they use.
  const padded = new Uint8Array(8 + 8 * 32);
  padded.set(table([REGION]));
  assert.deepEqual(vu.decodeMemoryTable(padded), [REGION]);
  assert.deepEqual(vu.decodeMemoryTable(new Uint8Array(8)), []);
});

test("regions have their limits", () => {
  const last = { ...REGION, guestAddress: vu.MAX_ADDRESS - REGION.bytes };
  assert.deepEqual(vu.decodeMemoryTable(table([last])), [last]);
  for (const wrong of [
    { guestAddress: vu.MAX_ADDRESS - REGION.bytes + 4096 },
    { guestAddress: 4095 },
    { bytes: 0 },
    { bytes: 4097 },
    { fdOffset: 1 },
    { fdOffset: 2 ** 53 - 4096 },
    { userAddress: 2 ** 53 - 4096 },
  ])
    assert.throws(() => vu.decodeMemoryTable(table([{ ...REGION, ...wrong }])), FormatError, JSON.stringify(wrong));
  const nine = table([REGION]);
  nine[0] = 9;
  assert.throws(() => vu.decodeMemoryTable(nine), /found 9, expected at most 8/);
  nine[0] = 2;
  assert.throws(() => vu.decodeMemoryTable(nine), /2 regions take 72 bytes, found 40/);
});

test("regions may touch and not overlap, for the guest and for the front-end", () => {
  const next = { ...REGION, guestAddress: REGION.guestAddress + REGION.bytes, userAddress: 0 };
  assert.equal(vu.decodeMemoryTable(table([REGION, next])).length, 2);
  for (const wrong of [{ guestAddress: next.guestAddress - 4096 }, { userAddress: REGION.userAddress + 4096 }])
    assert.throws(() => vu.decodeMemoryTable(table([REGION, { ...next, ...wrong }])), /overlaps/);
});

test("the in-flight region of a queue", () => {
  assert.equal(vu.queueRegionBytes(1), 64);
  assert.equal(vu.queueRegionBytes(1024), 16 + 1024 * 16 + 48);
});

test("whatever the bytes, only a FormatError comes of them", () => {
  const random = new Random(11);
  for (let round = 0; round < 20_000; round++) {
    const bytes = random.chance(50)
      ? table([REGION, { ...REGION, guestAddress: 0, userAddress: 0 }])
      : header(random.below(50), random.below(300));
    for (let flips = random.below(6); flips > 0; flips--) bytes[random.below(bytes.length)] = random.below(256);
    for (const decode of [
      () => vu.decodeRequest(bytes, random.below(10)),
      () => vu.decodeMemoryTable(bytes),
      () => vu.decodeSingleRegion(bytes),
    ])
      try {
        decode();
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
      }
  }
});
