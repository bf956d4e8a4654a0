import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c, superBlockChecksum } from "./checksum.ts";

// RFC 3720, B.4: the CRC-32C vectors of iSCSI (which inverts at the end).
for (const [name, bytes, expected] of [
  ["32 zero bytes", new Uint8Array(32), 0x8a9136aa],
  ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["0 to 31", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
] as const)
  test(`crc32c of ${name} is the RFC 3720 vector`, () => {
    assert.equal(~crc32c(bytes, 0xffffffff) >>> 0, expected);
  });

test("crc32c can be continued", () => {
  const bytes = Uint8Array.from({ length: 32 }, (_, i) => i);
  const first = crc32c(bytes.subarray(0, 7), 0xffffffff);
  assert.equal(~crc32c(bytes.subarray(7), first) >>> 0, 0x46dd794e);
});

test("the superblock checksum does not depend on the checksum field or the boot area", () => {
  const block = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) & 0xff);
  const before = superBlockChecksum(block);
  block.fill(0x55, 1028, 1032);
  block.fill(0x55, 0, 1024);
  assert.equal(superBlockChecksum(block), before);
  block[1032]! ^= 1;
  assert.notEqual(superBlockChecksum(block), before);
});
