import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Digest,
  DocumentError,
  fitPrefetchList,
  formatPrefetchList,
  MAX_PREFETCH_BYTES,
  MAX_PREFETCH_RANGES,
  type PrefetchList,
  parsePrefetchList,
} from "./index.ts";

const digest = (digit: string): Digest => `sha256:${digit.repeat(64)}`;
const LIST: PrefetchList = {
  blobs: [digest("a"), digest("b")],
  ranges: [
    { blob: 1, offset: 65536, bytes: 131072 },
    { blob: 0, offset: 0, bytes: 1 },
    { blob: 1, offset: 0, bytes: 65536 },
  ],
};
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

test("a list comes back as it was, in one line", () => {
  const text = formatPrefetchList(LIST);
  assert.ok(!text.includes("\n"));
  assert.deepEqual(parsePrefetchList(Buffer.from(text)), LIST);
});

test("of an image's blobs, by their places there; what the image has not got is named", () => {
  const { ranges, strangers } = fitPrefetchList(LIST, [digest("c"), digest("b")]);
  assert.deepEqual(ranges, [
    { blob: 1, offset: 65536, bytes: 131072 },
    { blob: 1, offset: 0, bytes: 65536 },
  ]);
  assert.deepEqual(strangers, [digest("a")]);
});

test("the longest list fits its limit, one range more does not", () => {
  const ranges = Array.from({ length: MAX_PREFETCH_RANGES }, (_, i) => ({
    blob: 0,
    offset: i * 2 ** 30,
    bytes: 2 ** 30,
  }));
  const text = formatPrefetchList({ blobs: [digest("a")], ranges });
  assert.ok(text.length <= MAX_PREFETCH_BYTES, `${text.length}`);
  assert.equal(parsePrefetchList(Buffer.from(text)).ranges.length, MAX_PREFETCH_RANGES);
  const more = [...ranges, ranges[0]!];
  assert.throws(
    () => parsePrefetchList(Buffer.from(formatPrefetchList({ blobs: [digest("a")], ranges: more }))),
    /8192/,
  );
});

const good = { version: 1, blobs: [digest("a")], ranges: ["0 0 1"] };
for (const [name, document, expected] of [
  ["no JSON", Buffer.from("#!/bin/sh"), /is not JSON/],
  ["another version", bytes({ ...good, version: 2 }), /version: expected 1/],
  ["a digest of words", bytes({ ...good, blobs: ["sha256:x"] }), /expected sha256 digests/],
  ["too many blobs", bytes({ ...good, blobs: Array(1025).fill(digest("a")) }), /at most 1024/],
  ["a blob that is not listed", bytes({ ...good, ranges: ["1 0 1"] }), /expected one of 1 blobs/],
  ["a range without bytes", bytes({ ...good, ranges: ["0 0 0"] }), /expected "BLOB OFFSET BYTES"/],
  ["a negative offset", bytes({ ...good, ranges: ["0 -1 1"] }), /expected "BLOB OFFSET BYTES"/],
  ["an end beyond any blob", bytes({ ...good, ranges: [`0 ${2 ** 44} 1`] }), /an end of at most/],
  ["numbers that are none", bytes({ ...good, ranges: ["0 1e9 5"] }), /expected "BLOB OFFSET BYTES"/],
  ["ranges of another kind", bytes({ ...good, ranges: [[0, 0, 1]] }), /strings only/],
  ["a list without an end", Buffer.alloc(MAX_PREFETCH_BYTES + 1, 32), /at most 524288 are accepted/],
] as const)
  test(`${name} is refused`, () => {
    assert.throws(
      () => parsePrefetchList(document),
      (error) => error instanceof DocumentError && expected.test(error.message),
    );
  });
