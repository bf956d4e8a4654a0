import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../../formats/bytes/index.ts";
import { gunzip } from "./engines.ts";
import { chunks, collect, formatError, GZIP_ENGINES, member, TINY, u16 } from "./testing.ts";

const hello = Buffer.from("hello, hello, hello");
const big = Buffer.alloc(1_300_001, "The quick brown fox jumps over the lazy dog. ");
for (let i = 0; i < big.length; i += 11) big[i] = (i * i) >> 5;

for (const engine of GZIP_ENGINES) {
  const read = (stream: Buffer, ...sizes: number[]) => collect(gunzip(chunks(stream, ...sizes), engine, TINY));

  test(`${engine}: empty, small and large members, stored and compressed`, async () => {
    for (const content of [Buffer.alloc(0), hello, big])
      for (const level of [0, 1]) {
        const stream = member(content, { level });
        assert.deepEqual(await collect(gunzip(chunks(stream, 65536), engine)), content);
      }
    assert.deepEqual(await read(member(big.subarray(0, 5000)), 1, 100), big.subarray(0, 5000));
  });

  test(`${engine}: every optional header field, alone and together`, async () => {
    const fields = [
      { text: true },
      { extra: Buffer.alloc(0) },
      { extra: Buffer.alloc(65535, 7) },
      { fileName: "a name \xff" },
      { fileName: "", comment: "" },
      { comment: "a comment" },
      { headerCrc: true },
      { text: true, extra: Buffer.from("SG\x01\0x"), fileName: "n", comment: "c", headerCrc: true },
    ];
    for (const options of fields) assert.deepEqual(await read(member(hello, options), 3), hello);
  });

  test(`${engine}: bad headers`, async () => {
    const rejects = (stream: Buffer, code: FormatError["code"], field: string, offset: number) =>
      assert.rejects(read(stream, 5), formatError(code, field, offset));
    await rejects(Buffer.from("not gzip at all"), "ERR_BAD_VALUE", "gzip member header", 0);
    const patched = (offset: number, byte: number, options = {}) => {
      const stream = member(hello, options);
      stream[offset] = byte;
      return stream;
    };
    await rejects(patched(2, 9), "ERR_UNSUPPORTED", "gzip CM", 2);
    await rejects(patched(3, 0x20), "ERR_BAD_VALUE", "gzip FLG", 3);
    await rejects(patched(4, 99, { headerCrc: true, fileName: "n" }), "ERR_BAD_VALUE", "gzip header CRC16", 12);
    const name = "n".repeat(65535);
    assert.deepEqual(await collect(gunzip(chunks(member(hello, { fileName: name })), engine)), hello);
    const long = collect(gunzip(chunks(member(hello, { fileName: `${name}n` })), engine));
    await assert.rejects(long, { name: "FormatError", field: "gzip FNAME" });
  });

  test(`${engine}: a wrong CRC32 or ISIZE is an error at its place`, async () => {
    const stream = member(big.subarray(0, 1000));
    for (const [back, field] of [
      [8, "gzip CRC32"],
      [4, "gzip ISIZE"],
    ] as const) {
      const bad = Buffer.from(stream);
      bad[bad.length - back]! ^= 1;
      await assert.rejects(read(bad, 9), formatError("ERR_BAD_VALUE", field, bad.length - back));
    }
  });

  test(`${engine}: members follow each other; zeros may pad the end, nothing else may`, async () => {
    const two = Buffer.concat([
      member(hello, { fileName: "a" }),
      member(Buffer.alloc(0)),
      member(big.subarray(0, 999)),
    ]);
    const expected = Buffer.concat([hello, big.subarray(0, 999)]);
    assert.deepEqual(await read(two, 13), expected);
    assert.deepEqual(await read(Buffer.concat([two, Buffer.alloc(1000)]), 13), expected);
    assert.deepEqual(await read(Buffer.concat([two, Buffer.alloc(1)]), 5000), expected);
    const junk = read(Buffer.concat([two, Buffer.from("junk")]), 13);
    await assert.rejects(junk, formatError("ERR_BAD_VALUE", "gzip member header", two.length));
    const afterZeros = read(Buffer.concat([two, Buffer.alloc(20), hello]), 13);
    await assert.rejects(afterZeros, formatError("ERR_BAD_VALUE", "gzip padding", two.length + 20));
  });

  test(`${engine}: a stream cut anywhere is whole only at the end of a member`, async () => {
    const first = member(hello, { extra: u16(5), fileName: "f", headerCrc: true });
    const second = member(big.subarray(0, 300), { level: 0 });
    const stream = Buffer.concat([first, second]);
    for (let cut = 0; cut < stream.length; cut++) {
      const reading = read(stream.subarray(0, cut), 17);
      if (cut === first.length) assert.deepEqual(await reading, hello);
      else
        await assert.rejects(reading, (error) => {
          assert.ok(error instanceof FormatError, String(error));
          assert.equal(error.code, "ERR_TRUNCATED");
          assert.equal(error.offset, cut);
          return true;
        });
    }
  });

  test(`${engine}: thousands of small members`, async () => {
    const parts = Array.from({ length: 1000 }, (_, i) => big.subarray(i * 31, i * 31 + (i % 97)));
    const stream = Buffer.concat(parts.map((part) => member(part)));
    assert.deepEqual(await collect(gunzip(chunks(stream, 65536), engine)), Buffer.concat(parts));
  });
}

test("an engine that does not exist here is an error, not a fallback", async () => {
  const run = collect(gunzip(chunks(member(hello)), "isal"));
  if (GZIP_ENGINES[0] === "isal") assert.deepEqual(await run, hello);
  else await assert.rejects(run, /libisal/);
});
