import assert from "node:assert/strict";
import { test } from "node:test";
import { type Compression, decompress, detectCompression } from "./index.ts";
import { chunks, collect, formatError, GZIP_ENGINES, member, skippableFrame, zstdFrame } from "./testing.ts";

const content = Buffer.alloc(2_500_000, "0123456789abcdefg");
const streams: readonly [Compression, Buffer][] = [
  ["none", content],
  ["gzip", member(content)],
  ["zstd", zstdFrame(content)],
];

test("detectCompression knows the magics, and takes anything else for uncompressed", () => {
  for (const [compression, stream] of streams) assert.equal(detectCompression(stream.subarray(0, 4)), compression);
  assert.equal(detectCompression(skippableFrame(content)), "zstd");
  for (const first of [
    [],
    [0x1f],
    [0x28, 0xb5, 0x2f],
    [0x50, 0x2a, 0x4d],
    [0x42, 0x5a, 0x68, 0x39],
    [0x60, 0x2a, 0x4d, 0x18],
  ])
    assert.equal(detectCompression(Uint8Array.from(first)), "none");
});

for (const [compression, stream] of streams) {
  test(`${compression}: gives back what was compressed`, async () => {
    assert.deepEqual(await collect(decompress(chunks(stream, 99_999), compression)), content);
  });

  test(`${compression}: maxOutputBytes is the last length allowed`, async () => {
    const read = (maxOutputBytes: number) =>
      collect(decompress(chunks(stream, 99_999), compression, { maxOutputBytes }));
    assert.equal((await read(content.length)).length, content.length);
    const tooLong = formatError("ERR_BAD_VALUE", "decompressed stream", content.length - 1);
    await assert.rejects(read(content.length - 1), tooLong);
  });

  test(`${compression}: the source's errors come through, and it is let go`, async () => {
    async function* failing() {
      yield* chunks(stream.subarray(0, stream.length >> 1), 1000);
      throw new RangeError("the network is gone");
    }
    await assert.rejects(collect(decompress(failing(), compression)), new RangeError("the network is gone"));
  });

  test(`${compression}: a consumer that stops early lets the source go`, async () => {
    let returned = 0;
    async function* endless() {
      try {
        for (;;) yield* chunks(stream.subarray(0, stream.length >> 1), 10_000);
      } finally {
        returned++;
      }
    }
    for await (const piece of decompress(endless(), compression)) {
      assert.ok(piece.length > 0);
      break;
    }
    await new Promise((done) => setImmediate(done));
    assert.equal(returned, 1);
  });
}

for (const engine of GZIP_ENGINES)
  test(`${engine}: a consumer can stop while the source has nothing to say`, { timeout: 5000 }, async () => {
    const stream = member(content, { level: 0 });
    async function* stuck() {
      yield* chunks(stream.subarray(0, 2_000_000), 50_000);
      await new Promise(() => {});
    }
    for await (const piece of decompress(stuck(), "gzip", { engine })) {
      assert.ok(piece.length > 0);
      break;
    }
  });
