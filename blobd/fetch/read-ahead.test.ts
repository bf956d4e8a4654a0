import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadAhead } from "./read-ahead.ts";

/** What is fetched ahead for reads of single chunks. */
function aheadOf(reader: ReadAhead, reads: readonly number[]): number[][] {
  return reads.map((chunk) => {
    const { from, to } = reader.note(chunk, chunk);
    return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  });
}

test("a sequential reader is read ahead of, in growing steps up to the limit and the end", () => {
  const got = aheadOf(new ReadAhead(30, 8), [...Array(30).keys()]);
  assert.deepEqual(got.slice(0, 3), [[], [], [3]]);
  const all = got.flat();
  assert.deepEqual(all, [...new Set(all)], "nothing twice");
  assert.deepEqual(
    all,
    Array.from({ length: 27 }, (_, i) => i + 3),
  );
  for (const [chunk, ahead] of got.entries()) for (const one of ahead) assert.ok(one > chunk && one <= chunk + 8);
});

test("scattered reads, and reads again of one chunk, fetch nothing ahead", () => {
  assert.deepEqual(aheadOf(new ReadAhead(100, 8), [50, 3, 70, 20, 90, 40]).flat(), []);
  assert.deepEqual(aheadOf(new ReadAhead(100, 8), [5, 5, 5, 5]).flat(), []);
  assert.deepEqual(aheadOf(new ReadAhead(100, 0), [1, 2, 3, 4]).flat(), []);
});

test("several readers are followed at a time", () => {
  const reader = new ReadAhead(1000, 4);
  const reads = Array.from({ length: 12 }, (_, i) => [i, 500 + i, 900 + i]).flat();
  const all = new Set(aheadOf(reader, reads).flat());
  for (const start of [0, 500, 900]) for (let i = 3; i < 12; i++) assert.ok(all.has(start + i), `${start + i}`);
});
