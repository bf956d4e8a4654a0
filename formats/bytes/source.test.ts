import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FormatError } from "./errors.ts";
import { bytesSource } from "./source.ts";

test("a byte source over a buffer reads views, up to its very end", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4);
  const source = bytesSource(bytes);
  assert.equal(source.size, 4);
  assert.deepEqual([...source.read(1, 3)], [2, 3, 4]);
  assert.equal(source.read(4, 0).length, 0);
  assert.equal(source.read(0, 4).buffer, bytes.buffer);
});

test("a range that leaves the source is a FormatError", () => {
  const source = bytesSource(new Uint8Array(4));
  for (const [offset, length] of [
    [0, 5],
    [4, 1],
    [-1, 2],
    [2, -1],
  ] as const)
    assert.throws(
      () => source.read(offset, length),
      (error) => error instanceof FormatError && error.code === "ERR_TRUNCATED" && error.offset === offset,
    );
});
