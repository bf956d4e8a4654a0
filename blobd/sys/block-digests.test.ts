import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { allocAligned, blockDigests, PAGE_SIZE } from "./index.ts";

const BLOCKS = 5;
const blocks = allocAligned(BLOCKS * PAGE_SIZE);
randomBytes(BLOCKS * PAGE_SIZE).copy(blocks.bytes);

for (const salt of [new Uint8Array(0), new Uint8Array(32), randomBytes(256)])
  test(`blocks with a salt of ${salt.length} bytes have the same digests with OpenSSL and without`, () => {
    const expected = Array.from({ length: BLOCKS }, (_, i) =>
      createHash("sha256")
        .update(salt)
        .update(blocks.bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE))
        .digest("hex"),
    ).join("");
    for (const digests of [blockDigests(salt), blockDigests(salt, null)]) {
      const out = allocAligned(BLOCKS * 32);
      digests.hash(blocks.address, BLOCKS, out.address);
      assert.equal(out.bytes.toString("hex"), expected);
      digests.free();
    }
  });
