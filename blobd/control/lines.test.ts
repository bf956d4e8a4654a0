import assert from "node:assert/strict";
import { test } from "node:test";
import { linesOf } from "./lines.ts";

async function* piecesOf(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

async function collect(pieces: AsyncIterable<Buffer>, maxBytes: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(pieces, maxBytes)) lines.push(line.toString());
  return lines;
}

test("lines come whole, however they are cut; what has no end is none", async () => {
  assert.deepEqual(await collect(piecesOf("a", "b\nc", "", "d", "\n", "\ne\nf\ng", "h"), 8), [
    "ab",
    "cd",
    "",
    "e",
    "f",
  ]);
  assert.deepEqual(await collect(piecesOf(), 8), []);
});

test("a line without an end is refused as soon as it is too long, and what came before it counts no more", async () => {
  const lines = linesOf(piecesOf("1234567\n", "1234", "5678", "9", "never\n"), 8);
  assert.equal((await lines.next()).value?.toString(), "1234567");
  await assert.rejects(lines.next(), /more than 8 bytes/);
});

test("a long message costs in proportion to its length", async () => {
  const pieces = Array<string>(60_000).fill("x".repeat(64));
  const startMs = performance.now();
  const lines = await collect(piecesOf(...pieces, "\n"), 4 << 20);
  assert.equal(lines.join(), pieces.join(""));
  // Put together anew for each piece, that would be 115 GB of copies.
  assert.ok(performance.now() - startMs < 5000);
});
