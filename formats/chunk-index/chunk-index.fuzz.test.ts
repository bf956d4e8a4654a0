import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError } from "../bytes/index.ts";
import { ChunkIndexWriter, decodeChunkIndex, skippablePayload } from "./index.ts";

const RUNS = { seed: 20261127, numRuns: 2000 };

const hashes = { none: 0, sha256: 32, sha512: 64 } as const;
const blob = fc.record({
  compression: fc.constantFrom("none" as const, "zstd" as const),
  hash: fc.constantFrom("none" as const, "sha256" as const, "sha512" as const),
  chunks: fc.array(
    fc.record({ bytes: fc.integer({ min: 1, max: 1 << 20 }), stored: fc.integer({ min: 1, max: 60_000 }) }),
    {
      maxLength: 40,
    },
  ),
});
type Blob = typeof blob extends fc.Arbitrary<infer T> ? T : never;

function encode({ compression, hash, chunks }: Blob): { bytes: Uint8Array; storedEnd: number } {
  const writer = new ChunkIndexWriter(compression, hash);
  let offset = 0;
  let storedEnd = 0;
  for (const [i, { bytes, stored }] of chunks.entries()) {
    writer.add(storedEnd, offset, new Uint8Array(hashes[hash]).fill(i));
    offset += bytes;
    storedEnd += compression === "none" ? bytes : stored;
  }
  return { bytes: writer.finish(offset), storedEnd };
}

test("what is written is read", () => {
  fc.assert(
    fc.property(blob, (given) => {
      const { bytes, storedEnd } = encode(given);
      const index = decodeChunkIndex(bytes, storedEnd);
      assert.equal(index.count, given.chunks.length);
      for (const [i, { bytes: length, stored }] of given.chunks.entries()) {
        assert.equal(index.bytes(i), length);
        assert.equal(index.storedBytes(i), given.compression === "none" ? length : stored);
        assert.deepEqual(index.checksum(i), new Uint8Array(hashes[given.hash]).fill(i));
        assert.equal(index.chunkAt(index.offset(i)), i);
        assert.equal(index.chunkAt(index.offset(i) + length - 1), i);
      }
    }),
    { ...RUNS, numRuns: 300 },
  );
});

test("damaged indexes are refused, or are consistent all the same", () => {
  fc.assert(
    fc.property(
      blob,
      fc.array(fc.record({ at: fc.nat(400), value: fc.nat(255) }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 0, max: 60 }),
      (given, damage, cut) => {
        const { bytes: whole, storedEnd } = encode(given);
        const bytes = whole.slice(0, Math.max(0, whole.length - (cut > 50 ? cut : 0)));
        for (const { at, value } of damage) if (at < bytes.length) bytes[at] = value;
        try {
          const index = decodeChunkIndex(bytes, storedEnd);
          let offset = 0;
          let free = 0;
          for (let i = 0; i < index.count; i++) {
            assert.equal(index.offset(i), offset);
            assert.ok(index.storedOffset(i) >= free && index.bytes(i) > 0 && index.storedBytes(i) > 0);
            offset += index.bytes(i);
            free = index.storedOffset(i) + index.storedBytes(i);
          }
          assert.equal(offset, index.size);
          assert.ok(free <= storedEnd);
        } catch (error) {
          assert.ok(error instanceof FormatError, String(error));
        }
      },
    ),
    RUNS,
  );
});

test("any bytes as a frame or an index end in a FormatError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const parse of [() => skippablePayload(bytes), () => decodeChunkIndex(bytes, 1000)])
        assert.throws(parse, FormatError);
    }),
    RUNS,
  );
});
