import assert from "node:assert/strict";
import { test } from "node:test";
import { Segments } from "./chain.ts";
import { GuestMemory } from "./guest-memory.ts";

test("pieces that are neighbours in this process are one; a gap, and another mapping, part them", () => {
  const memory = new GuestMemory();
  memory.setRegions([
    { id: 1, guestAddress: 0, bytes: 0x4000, hostAddress: 0x7000_0000_0000 },
    { id: 2, guestAddress: 0x4000, bytes: 0x4000, hostAddress: 0x7100_0000_0000 },
  ]);
  memory.setWindow({ guestAddress: 0x10_0000, bytes: 0x2000 });
  const segments = new Segments();
  for (const at of [0x0000, 0x1000, 0x3000, 0x4000, 0x5000, 0x10_0000, 0x10_1000]) memory.append(segments, at, 0x1000);
  const pieces = Array.from({ length: segments.count }, (_, i) => [segments.address[i], segments.length[i]]);
  assert.deepEqual(pieces, [
    [0x7000_0000_0000, 0x2000],
    [0x7000_0000_3000, 0x1000],
    [0x7100_0000_0000, 0x2000],
    [0, 0x1000],
    [0x1000, 0x1000],
  ]);
  assert.equal(segments.bytes, 7 * 0x1000);
});
