import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../../formats/bytes/index.ts";
import { unzstd } from "./engines.ts";
import { hasNodeZstd } from "./node-zlib.ts";
import { chunks, collect, formatError, skippableFrame, TINY, zstdFrame } from "./testing.ts";

const text = Buffer.alloc(5000, "some text that repeats, ");

for (const engine of hasNodeZstd() ? (["isal", "zlib"] as const) : (["isal"] as const)) {
  const read = (stream: Buffer, ...sizes: number[]) => collect(unzstd(chunks(stream, ...sizes), engine, TINY));

  test(`${engine}: frames, empty frames and skippable frames in any order`, async () => {
    assert.deepEqual(await read(zstdFrame(text), 1), text);
    assert.deepEqual(await read(zstdFrame(Buffer.alloc(0)), 3), Buffer.alloc(0));
    assert.deepEqual(await read(skippableFrame(text), 3), Buffer.alloc(0));
    const mixed = [
      skippableFrame(text),
      zstdFrame(text),
      zstdFrame(text.subarray(0, 7)),
      skippableFrame(Buffer.alloc(0)),
    ];
    assert.deepEqual(await read(Buffer.concat(mixed), 100, 1), Buffer.concat([text, text.subarray(0, 7)]));
  });

  test(`${engine}: windows up to 128 MiB`, async () => {
    assert.deepEqual(await read(zstdFrame(text, 27), 64), text);
    await assert.rejects(read(zstdFrame(text, 28), 64), (error) => {
      assert.ok(error instanceof FormatError);
      assert.equal(error.code, "ERR_UNSUPPORTED");
      if (engine === "isal") assert.match(error.message, /window larger than 2\^27 bytes/);
      return true;
    });
  });

  test(`${engine}: a stream cut anywhere is whole only at the end of a frame`, async () => {
    const frames = [
      zstdFrame(text.subarray(0, 50)),
      skippableFrame(text.subarray(0, 9)),
      zstdFrame(text.subarray(0, 20)),
    ];
    const stream = Buffer.concat(frames);
    const ends = new Set([frames[0]!.length, frames[0]!.length + frames[1]!.length]);
    for (let cut = 0; cut < stream.length; cut++) {
      const reading = read(stream.subarray(0, cut), 11);
      if (ends.has(cut)) assert.deepEqual(await reading, text.subarray(0, 50));
      else await assert.rejects(reading, { name: "FormatError", code: "ERR_TRUNCATED", offset: cut });
    }
  });

  test(`${engine}: what is no frame is an error, at the start and after one`, async () => {
    await assert.rejects(read(Buffer.from("not zstd, really"), 5), { name: "FormatError", code: "ERR_BAD_VALUE" });
    const stream = Buffer.concat([zstdFrame(text), Buffer.alloc(12)]);
    await assert.rejects(read(stream, 5), { name: "FormatError", code: "ERR_BAD_VALUE" });
  });
}

test("an engine that does not exist here is an error", async () => {
  if (hasNodeZstd()) assert.deepEqual(await collect(unzstd(chunks(zstdFrame(text)), "zlib")), text);
  else assert.throws(() => unzstd(chunks(zstdFrame(text)), "zlib"), /libzstd\.so\.1/);
  await assert.rejects(collect(unzstd(chunks(Buffer.alloc(0)), "isal")), formatError("ERR_TRUNCATED", "zstd", 0));
});
