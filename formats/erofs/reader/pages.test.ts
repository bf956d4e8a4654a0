import assert from "node:assert/strict";
import { test } from "node:test";
import type { ByteSource } from "../../bytes/index.ts";
import { Pages } from "./pages.ts";

const PAGE = 256 * 1024;
const nextPage = (at: number) => (Math.floor(at / PAGE) + 1) * PAGE;

/** A source of `size` bytes, each the low byte of its page's number, that copies as a file does and counts reads. */
function countingSource(size: number): ByteSource & { reads: number } {
  return {
    size,
    reads: 0,
    read(offset, length) {
      this.reads++;
      const bytes = new Uint8Array(length);
      for (let at = offset; at < offset + length; at = nextPage(at))
        bytes.fill(at / PAGE, at - offset, nextPage(at) - offset);
      return bytes;
    },
  };
}

test("neighbours are read once, and a range over two pages is read whole", () => {
  const source = countingSource(3 * PAGE);
  const pages = new Pages(source);
  for (let at = 0; at < PAGE; at += 32) pages.at(at, 32);
  assert.equal(source.reads, 1);
  const across = pages.bytes(PAGE - 10, 20);
  assert.deepEqual([...across], [...Array(10).fill(0), ...Array(10).fill(1)]);
});

test("the last page ends with the image, and nothing is read beyond", () => {
  const source = countingSource(PAGE + 100);
  const pages = new Pages(source);
  assert.equal(pages.bytes(PAGE, 100).length, 100);
  for (const [offset, length] of [
    [PAGE + 90, 11],
    [2 ** 40, 1],
    [-1, 1],
    [0, -1],
    [0, 2 ** 53],
    [Number.NaN, 1],
  ] as const)
    assert.throws(() => pages.at(offset, length), { name: "FormatError", code: "ERR_TRUNCATED" });
});

test("old pages make room for new ones", () => {
  const source = countingSource(2 ** 40);
  const pages = new Pages(source);
  for (let i = 0; i <= 256; i++) pages.at(i * PAGE, 32);
  assert.equal(source.reads, 257);
  pages.at(256 * PAGE, 32);
  assert.equal(source.reads, 257, "the newest page is still there");
  pages.at(0, 32);
  assert.equal(source.reads, 258, "the oldest is not");
});
