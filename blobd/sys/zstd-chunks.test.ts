import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { allocAligned, hasLibzstd, sha256Of, ZstdChunkDecoder, ZstdChunkEncoder } from "./index.ts";

const options = { skip: hasLibzstd() ? false : "libzstd is not installed" };
const text = Buffer.from("a line that comes again and again\n".repeat(3000));

test("what is encoded is decoded, into exactly as much room, with equal bytes each time", options, async () => {
  const source = allocAligned(text.length);
  text.copy(source.bytes);
  const frame = allocAligned(1 << 20);
  const target = allocAligned(text.length + 1);
  for (const level of [1, 3, 19]) {
    const encoder = new ZstdChunkEncoder(level);
    const bytes = await encoder.encode(source.address, text.length, frame.address, frame.bytes.length);
    assert.ok(bytes > 10 && bytes < 2000);
    const before = Buffer.from(frame.bytes.subarray(0, bytes));
    assert.equal(await encoder.encode(source.address, text.length, frame.address, frame.bytes.length), bytes);
    assert.deepEqual(frame.bytes.subarray(0, bytes), before);
    const decoder = new ZstdChunkDecoder();
    assert.equal(await decoder.decode(frame.address, bytes, target.address, text.length), text.length);
    assert.deepEqual(target.bytes.subarray(0, text.length), text);
    target.bytes[text.length - 1] = 0x55;
    assert.match(String(await decoder.decode(frame.address, bytes, target.address, text.length - 1)), /too small/);
    assert.equal(target.bytes[text.length - 1], 0x55, "nothing is written behind the room given");
    assert.match(String(await decoder.decode(frame.address, bytes - 1, target.address, text.length)), /[a-z]/);
    frame.bytes[0] = 0;
    assert.match(String(await decoder.decode(frame.address, bytes, target.address, text.length)), /[a-z]/);
    encoder.free();
    decoder.free();
  }
});

test("an encoder that has no room says so", options, async () => {
  const source = allocAligned(4096);
  for (let i = 0; i < 4096; i++) source.bytes[i] = (i * 7919) >> 3;
  const encoder = new ZstdChunkEncoder(3);
  await assert.rejects(encoder.encode(source.address, 4096, source.address, 10), /too small/);
  encoder.free();
});

test("sha256 of a piece", async () => {
  assert.deepEqual(await sha256Of(text), createHash("sha256").update(text).digest());
  assert.deepEqual(await sha256Of(new Uint8Array(0)), createHash("sha256").digest());
});
