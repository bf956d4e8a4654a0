import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../bytes/index.ts";
import { Header } from "./format.ts";
import { ChunkIndexWriter, decodeChunkIndex, paddingFrame, skippableFrame, skippablePayload } from "./index.ts";

// Offsets typed a second time on purpose, from spec.md, 3.4.1 and 3.4.2.
for (const [field, offset] of [
  ["magic", 0],
  ["version", 4],
  ["compressionType", 5],
  ["flags", 6],
  ["uncompressedSize", 8],
  ["numChunks", 16],
  ["hashAlgo", 20],
  ["hashSize", 21],
  ["reserved", 22],
] as const)
  test(`header.${field} lies at byte ${offset}`, () => assert.equal(Header.at[field], offset));

const SUM = new Uint8Array(32).fill(7);

/** Three chunks of 4096, 4096 and 100 bytes in frames of 10, 20 and 30. */
function three(): Uint8Array {
  const writer = new ChunkIndexWriter("zstd", "sha256");
  writer.add(0, 0, SUM);
  writer.add(
    10,
    4096,
    SUM.map((b) => b + 1),
  );
  writer.add(
    30,
    8192,
    SUM.map((b) => b + 2),
  );
  return writer.finish(8292);
}

test("the bytes of an index", () => {
  const entry = (hex: string, sum: string) => hex + sum.repeat(32);
  assert.equal(
    Buffer.from(three()).toString("hex"),
    "cde4ec6701010000" +
      "6420000000000000" +
      "03000000" +
      "0120" +
      "00".repeat(10) +
      entry("0000000000000000" + "0000000000000000", "07") +
      entry("0a00000000000000" + "0010000000000000", "08") +
      entry("1e00000000000000" + "0020000000000000", "09"),
  );
});

test("an index tells where chunks lie", () => {
  const index = decodeChunkIndex(three(), 60);
  assert.equal(index.count, 3);
  assert.equal(index.size, 8292);
  const rows = [0, 1, 2].map((i) => [index.offset(i), index.bytes(i), index.storedOffset(i), index.storedBytes(i)]);
  assert.deepEqual(rows, [
    [0, 4096, 0, 10],
    [4096, 4096, 10, 20],
    [8192, 100, 30, 30],
  ]);
  assert.equal(index.checksum(2)[0], 9);
  assert.deepEqual(
    [0, 4095, 4096, 8191, 8192, 8291].map((offset) => index.chunkAt(offset)),
    [0, 0, 1, 1, 2, 2],
  );
});

test("an index of nothing, one without checksums, one of bytes as they are", () => {
  const none = decodeChunkIndex(new ChunkIndexWriter("none", "none").finish(0), 0);
  assert.deepEqual([none.count, none.size], [0, 0]);
  const writer = new ChunkIndexWriter("none", "sha512");
  writer.add(5, 0, new Uint8Array(64).fill(1));
  writer.add(105, 100, new Uint8Array(64).fill(2));
  const plain = decodeChunkIndex(writer.finish(150), 155);
  assert.deepEqual([plain.storedBytes(0), plain.storedBytes(1), plain.checksum(1).length], [100, 50, 64]);
  assert.throws(() => decodeChunkIndex(writer.finish(150), 154), /expected an end of at most 154/);
});

test("chunks of different sizes are found", () => {
  const writer = new ChunkIndexWriter("zstd", "none");
  const starts = [0, 1, 5000, 5001, 70_000, 1_000_000];
  for (const [i, start] of starts.entries()) writer.add(i * 9, start, new Uint8Array(0));
  const index = decodeChunkIndex(writer.finish(1_000_001), 54);
  for (const [i, start] of starts.entries()) {
    assert.equal(index.chunkAt(start), i);
    assert.equal(index.chunkAt(start + index.bytes(i) - 1), i);
  }
});

/** A change of the three chunks' index, and what is said of it. */
const LIES: readonly [string, (dv: DataView) => void, FormatError["code"], RegExp][] = [
  ["another magic", (dv) => dv.setUint8(0, 0xce), "ERR_BAD_VALUE", /magic/],
  ["a later version", (dv) => dv.setUint8(4, 2), "ERR_UNSUPPORTED", /version at byte 4: found 2/],
  ["another compression", (dv) => dv.setUint8(5, 2), "ERR_UNSUPPORTED", /compressionType/],
  ["a flag", (dv) => dv.setUint16(6, 0x8000, true), "ERR_UNSUPPORTED", /flags/],
  ["a reserved byte", (dv) => dv.setUint8(31, 1), "ERR_BAD_VALUE", /reserved/],
  ["another hash", (dv) => dv.setUint8(20, 2), "ERR_UNSUPPORTED", /hashAlgo/],
  ["a hash of another length", (dv) => dv.setUint8(21, 16), "ERR_BAD_VALUE", /hashSize/],
  ["a length without a hash", (dv) => dv.setUint8(20, 0), "ERR_BAD_VALUE", /hashSize/],
  [
    "more chunks than entries",
    (dv) => dv.setUint32(16, 4, true),
    "ERR_TRUNCATED",
    /4 chunks take 224 bytes, found 176/,
  ],
  ["fewer chunks than entries", (dv) => dv.setUint32(16, 2, true), "ERR_BAD_VALUE", /numChunks/],
  ["as many chunks as there can be", (dv) => dv.setUint32(16, 2 ** 32 - 1, true), "ERR_TRUNCATED", /numChunks/],
  ["content that starts behind 0", (dv) => dv.setUint8(32 + 8, 1), "ERR_BAD_VALUE", /entry\[0\].UncompressedOffset/],
  ["content out of order", (dv) => dv.setUint32(32 + 48 + 8, 9000, true), "ERR_BAD_VALUE", /expected less than 8192/],
  ["an empty chunk", (dv) => dv.setUint32(32 + 48 + 8, 8192, true), "ERR_BAD_VALUE", /entry\[1\].UncompressedOffset/],
  ["content behind the end", (dv) => dv.setUint32(8, 8192, true), "ERR_BAD_VALUE", /entry\[2\].UncompressedOffset/],
  [
    "a chunk longer than is read",
    (dv) => dv.setUint32(8, 8192 + (16 << 20) + 1, true),
    "ERR_UNSUPPORTED",
    /at most 16777216/,
  ],
  ["frames out of order", (dv) => dv.setUint32(32 + 48, 31, true), "ERR_BAD_VALUE", /BlockOffset/],
  ["a frame of nothing", (dv) => dv.setUint32(32 + 96, 10, true), "ERR_BAD_VALUE", /entry\[1\].BlockOffset/],
  ["a frame behind the end", (dv) => dv.setUint32(32 + 96, 60, true), "ERR_BAD_VALUE", /entry\[2\].BlockOffset/],
  ["an offset of 2^53", (dv) => dv.setUint32(32 + 100, 0x20_0000, true), "ERR_BAD_VALUE", /BlockOffset/],
];
for (const [name, lie, code, message] of LIES)
  test(`${name} is refused`, () => {
    const bytes = three();
    lie(new DataView(bytes.buffer));
    assert.throws(
      () => decodeChunkIndex(bytes, 60),
      (error) => {
        assert.ok(error instanceof FormatError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        return true;
      },
    );
  });

test("a frame far longer than its content is refused", () => {
  const writer = new ChunkIndexWriter("zstd", "none");
  writer.add(0, 0, new Uint8Array(0));
  assert.throws(() => decodeChunkIndex(writer.finish(4096), 1 << 30), /at most 69648 make sense/);
});

test("the frame around an index", () => {
  const frame = skippableFrame(three());
  assert.equal(Buffer.from(frame.subarray(0, 8)).toString("hex"), "502a4d18b0000000");
  assert.deepEqual(skippablePayload(frame), three());
  assert.throws(() => skippablePayload(frame.subarray(1)), { code: "ERR_BAD_VALUE", field: "skippable frame magic" });
  assert.throws(() => skippablePayload(frame.subarray(0, 100)), {
    code: "ERR_BAD_VALUE",
    field: "skippable frame length",
  });
  assert.throws(() => skippablePayload(frame.subarray(0, 7)), { code: "ERR_TRUNCATED" });
  for (const offset of [0, 1, 2, 3, 4, 5]) assert.equal((offset + paddingFrame(offset).length) % 4, 0);
});
