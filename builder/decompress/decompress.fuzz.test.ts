import assert from "node:assert/strict";
import { test } from "node:test";
import { constants } from "node:zlib";
import fc from "fast-check";
import { FormatError } from "../../formats/bytes/index.ts";
import { gunzip, unzstd } from "./engines.ts";
import { chunks, collect, GZIP_ENGINES, member, skippableFrame, zstdFrame } from "./testing.ts";

const RUNS = { numRuns: 150, interruptAfterTimeLimit: 2500 };

/** Bytes with runs and repetitions as well as noise, so that all kinds of deflate blocks and matches come up. */
const content = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 300 }))
        .map(([unit, times]) => Buffer.alloc(unit.length * times, unit)),
    ),
    { maxLength: 8 },
  )
  .map((parts) => Buffer.concat(parts));
const memberOptions = fc.record(
  {
    level: fc.integer({ min: 0, max: 9 }),
    strategy: fc.constantFrom(
      constants.Z_DEFAULT_STRATEGY,
      constants.Z_FIXED,
      constants.Z_RLE,
      constants.Z_HUFFMAN_ONLY,
    ),
    extra: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    fileName: fc.constantFrom("", "layer.tar"),
    comment: fc.constantFrom("", "a comment"),
    headerCrc: fc.boolean(),
  },
  { requiredKeys: [] },
);
const gzipStream = fc
  .tuple(fc.array(fc.tuple(content, memberOptions), { minLength: 1, maxLength: 4 }), fc.nat({ max: 20 }))
  .map(([members, padding]) => ({
    plain: Buffer.concat(members.map(([bytes]) => bytes)),
    stream: Buffer.concat([...members.map(([bytes, options]) => member(bytes, options)), Buffer.alloc(padding)]),
  }));
const zstdStream = fc.array(fc.tuple(content, fc.boolean()), { minLength: 1, maxLength: 4 }).map((frames) => ({
  plain: Buffer.concat(frames.map(([bytes, skipped]) => (skipped ? Buffer.alloc(0) : bytes))),
  stream: Buffer.concat(frames.map(([bytes, skipped]) => (skipped ? skippableFrame(bytes) : zstdFrame(bytes)))),
}));
const splits = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 5 });
const sizes = fc.record({
  inputBytes: fc.integer({ min: 1, max: 400 }),
  outputBytes: fc.integer({ min: 64, max: 3000 }),
});
const damage = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  bit: fc.nat({ max: 7 }),
});

const formats = [
  ...GZIP_ENGINES.map((engine) => ({ name: `gzip by ${engine}`, streams: gzipStream, engine, read: gunzip })),
  { name: "zstd", streams: zstdStream, engine: "isal" as const, read: unzstd },
];

for (const { name, streams, engine, read } of formats) {
  test(`${name}: any stream, in chunks of any size, through buffers of any size`, async () => {
    await fc.assert(
      fc.asyncProperty(streams, splits, sizes, async ({ plain, stream }, split, buffers) => {
        assert.deepEqual(await collect(read(chunks(stream, ...split), engine, buffers)), plain);
      }),
      RUNS,
    );
  });

  test(`${name}: a flipped bit or a cut gives a FormatError inside the stream, or does not matter`, async () => {
    await fc.assert(
      fc.asyncProperty(
        streams,
        splits,
        sizes,
        damage,
        fc.boolean(),
        async ({ plain, stream }, split, buffers, { at, bit }, cut) => {
          const place = Math.floor(at * stream.length);
          const bad = Buffer.from(cut ? stream.subarray(0, place) : stream);
          if (!cut) bad[place]! ^= 1 << bit;
          try {
            const found = await collect(read(chunks(bad, ...split), engine, buffers));
            // zstd frames made here carry no checksum; a cut may fall between two units.
            if (engine !== "isal" || read !== unzstd) assert.ok(cut ? plain.indexOf(found) === 0 : plain.equals(found));
          } catch (error) {
            assert.ok(error instanceof FormatError, String(error));
            assert.ok(error.offset >= 0 && error.offset <= bad.length, error.message);
            assert.equal(error.code === "ERR_TRUNCATED" && error.offset !== bad.length, false, error.message);
          }
        },
      ),
      RUNS,
    );
  });

  test(`${name}: noise never gives anything but a FormatError, or data`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), streams, async (noise, { stream }) => {
        // A good start takes the noise past the magic.
        const bytes = Buffer.concat([stream.subarray(0, Math.min(12, stream.length - 1)), noise]);
        try {
          await collect(read(chunks(bytes), engine));
        } catch (error) {
          assert.ok(error instanceof FormatError, String(error));
        }
      }),
      { numRuns: 100, interruptAfterTimeLimit: 1500 },
    );
  });
}
