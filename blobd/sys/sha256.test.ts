import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { sha256 } from "./sha256.ts";

const data = Buffer.alloc(300_000, "some bytes that repeat, in lengths around the block of 64");

for (const [how, make] of [
  ["OpenSSL", () => sha256()],
  ["node:crypto", () => sha256(null)],
] as const)
  test(`pieces of any length, taken at once or on the pool, give the digest of the whole (${how})`, async () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 4096, 300_000]) {
      const bytes = data.subarray(0, length);
      const expected = createHash("sha256").update(bytes).digest("hex");
      const hash = make();
      for (let done = 0, turn = 0; done < length; turn++) {
        const piece = bytes.subarray(done, done + 1 + ((turn * 7919) % 100_000));
        if (turn % 2 === 0) await hash.updateAsync(piece);
        else hash.update(piece);
        done += piece.length;
      }
      assert.equal(hash.digestHex(), expected);
      hash.free();
    }
  });

test("a hash that was freed is refused, not used", async () => {
  const hash = sha256();
  hash.update(data);
  hash.free();
  hash.free();
  assert.throws(() => hash.digestHex(), /after free/);
  await assert.rejects(hash.updateAsync(data), /after free/);
});
