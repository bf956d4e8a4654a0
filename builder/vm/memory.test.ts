import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "./errors.ts";
import { guestMemory, leastMemory } from "./memory.ts";

const MIB = 1 << 20;
const GIB = 1 << 30;
const image = (sizeBytes: number) => [{ path: "/x", sizeBytes }];

test("the guest's page records for the image are part of what it needs", () => {
  assert.equal(leastMemory(image(2 * MIB)), 129 * MIB);
  // 64 bytes for each of 262144 pages.
  assert.equal(leastMemory(image(GIB)), (128 + 16) * MIB);
  assert.equal(leastMemory([...image(GIB), ...image(GIB)]), (128 + 32) * MIB);
});

test("too little memory is refused at the limit, with what is needed", () => {
  assert.equal(guestMemory(144 * MIB, image(GIB)), 144 * MIB);
  assert.throws(
    () => guestMemory(144 * MIB - 1, image(GIB)),
    (error: unknown) => error instanceof VmError && error.code === "ERR_MEMORY" && /need 144 MiB/.test(error.message),
  );
});

test("without a wish it is 1 GiB, and enough for a very large image", () => {
  assert.equal(guestMemory(undefined, image(GIB)), GIB);
  assert.equal(guestMemory(undefined, image(100 * GIB)), 2 * (128 + 1600) * MIB);
});
