import assert from "node:assert/strict";
import { appendFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { base256, END_MARK, header, pax } from "../../formats/tar/testing.ts";
import { buildTar, type ErofsifyResult, erofsify, run, storeState, tempDir } from "../testkit/index.ts";

// Layers that are broken or mean harm: an error with the place in the bytes, memory within bounds, nothing left behind.

const MIB = 1 << 20;
/** What a conversion may take of memory, in bytes: the bound that was set for this project. */
const MAX_PEAK = 300 * MIB;

const directory = tempDir();
let files = 0;

interface Converted extends ErofsifyResult {
  readonly store: string;
  readonly source: string;
}

/** Converts an archive into a store of its own. */
async function convert(archive: Uint8Array | readonly Uint8Array[], ...options: string[]): Promise<Converted> {
  const file = join(directory, `archive${files++}`);
  writeFileSync(file, "");
  for (const piece of Array.isArray(archive) ? archive : [archive]) appendFileSync(file, piece as Uint8Array);
  const store = `${file}.store`;
  const source = `tar:${file}`;
  return { store, source, ...(await erofsify(["--store", store, "--quiet", source, ...options])) };
}

function assertFailed(result: Converted, status: number, says: RegExp): void {
  assert.match(result.stderr, says);
  assert.match(result.stderr, /^erofsify: [^\n]+\n$/, "one line");
  assert.equal(result.status, status);
  assert.deepEqual(storeState(result.store), { blobs: [], layers: [], images: [], tmp: [] });
}

const zstd = async (bytes: Uint8Array) =>
  Buffer.from((await run("sh", ["-c", "zstd --quiet | base64 --wrap=0"], { input: bytes })).stdout, "base64");

function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    bytes[i] = state >> 16;
  }
  return bytes;
}

const TAR = buildTar([
  { name: "folder/", type: "5" },
  { name: "folder/a", content: noise(100_000) },
]);
const GZIP = gzipSync(TAR);
const cut = (bytes: Buffer, length: number) => bytes.subarray(0, length);
const flipped = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at]! ^= 0x10;
  return copy;
};

describe("broken archives", { concurrency: 3 }, () => {
  const cases: readonly [what: string, archive: () => Uint8Array | Promise<Uint8Array>, says: RegExp][] = [
    ["a tar that ends in a header", () => cut(TAR, 700), /tar header at byte 700: the archive ends, expected 324 more/],
    [
      "a tar that ends in a file",
      () => cut(TAR, 50_000),
      /tar file data at byte 50000: the archive ends, expected \d+ more bytes of folder\/a/,
    ],
    [
      "a tar header with a wrong byte",
      () => flipped(TAR, 520),
      /tar header\.chksum at byte 660: found \d+, the bytes add/,
    ],
    ["no tar at all", () => noise(5000), /tar header\.chksum at byte 148: found no octal number.*not a tar/],
    ["a gzip that ends early", () => cut(GZIP, 60_000), /gzip.* at byte 60000: .*ends/],
    ["a gzip that ends in its header", () => cut(GZIP, 6), /gzip.* at byte \d+/],
    ["a gzip with a wrong CRC", () => flipped(GZIP, -6), /gzip CRC32 at byte \d+: found 0x\w+, the data has 0x\w+/],
    ["a gzip with a wrong length", () => flipped(GZIP, -2), /gzip ISIZE at byte \d+: found 0x\w+, the data has 0x\w+/],
    ["a zstd that ends early", async () => cut(await zstd(TAR), 60_000), /zstd.* at byte 60000: .*ends/],
    ["a zstd with a wrong byte", async () => flipped(await zstd(TAR), 50_000), /zstd.* at byte \d+/],
    [
      "a size that no archive has",
      () => header({ name: "a", size: base256(2 ** 62, 12) }),
      /tar header\.size at byte 124: /,
    ],
  ];
  for (const [what, archive, says] of cases)
    test(what, async () => assertFailed(await convert(await archive()), 4, says));
});

describe("bombs", { concurrency: 1 }, () => {
  const zeros = gzipSync(Buffer.alloc(64 * MIB));

  test("4 GiB of zeros in a file are a hole, and take no memory", async (t) => {
    const size = 64 * 64 * MIB;
    const start = gzipSync(Buffer.concat([pax([["size", String(size)]]), header({ name: "zeros" })]));
    const result = await convert([start, ...Array<Buffer>(64).fill(zeros), gzipSync(END_MARK)], "--json");
    assert.equal(result.status, 0, result.stderr);
    t.diagnostic(`peak ${Math.round(result.peakBytes / MIB)} MiB, ${result.seconds.toFixed(1)} s`);
    assert.ok(result.peakBytes < MAX_PEAK, `${result.peakBytes} bytes of memory`);
    const { stdout } = await erofsify(["ls", "-l", "--store", result.store, result.source, "/zeros"]);
    assert.match(stdout, new RegExp(` ${size} `));
    const stored = storeState(result.store).blobs.map((name) => name.split(" ")[0] as string);
    const blocks = stored.map((name) => statSync(join(result.store, "blobs/sha256", name)).blocks);
    assert.ok(blocks.reduce((sum, count) => sum + count, 0) * 512 < 4 * MIB, "takes no disk");
  });

  test("a layer larger than --max-layer-size is refused on the way", async (t) => {
    // Units that have nothing in common.
    const units = gzipSync(Buffer.concat(Array.from({ length: 64 }, (_, i) => Buffer.alloc(2 * MIB, `${i} `))));
    const start = gzipSync(Buffer.concat([header({ name: "large", size: base256(128 * MIB, 12) })]));
    const result = await convert([start, units, gzipSync(END_MARK)], "--max-layer-size", "100MiB");
    t.diagnostic(`peak ${Math.round(result.peakBytes / MIB)} MiB, ${result.seconds.toFixed(1)} s`);
    assertFailed(result, 5, /takes more than 104857600 bytes on the disk, the limit that was set for a layer/);
    assert.ok(result.peakBytes < MAX_PEAK, `${result.peakBytes} bytes of memory`);
  });

  test("many small files are bounded by --max-layer-size, a block each", async (t) => {
    const entries = Array.from({ length: 30_000 }, (_, i) => ({ name: `f${i}`, content: `${i}` }));
    const result = await convert(gzipSync(buildTar(entries)), "--max-layer-size", "40MiB");
    t.diagnostic(`peak ${Math.round(result.peakBytes / MIB)} MiB, ${result.seconds.toFixed(1)} s`);
    assertFailed(result, 5, /takes more than 41943040 bytes on the disk, the limit/);
  });

  test("a path that implies thousands of folders, again and again, is refused", async (t) => {
    const entries = Array.from({ length: 1200 }, (_, i) => ({ name: `${i}/${"a/".repeat(2000)}f` }));
    const result = await convert(gzipSync(buildTar(entries)));
    t.diagnostic(`peak ${Math.round(result.peakBytes / MIB)} MiB, ${result.seconds.toFixed(1)} s`);
    assertFailed(result, 4, /makes 2000001 files and folders .* a layer may have 2000000/);
  });

  test("attributes that fill the memory are refused", async (t) => {
    const value = "v".repeat(60_000);
    const entries = Array.from({ length: 5000 }, (_, i) => ({ name: `f${i}`, xattrs: { "user.a": `${value}${i}` } }));
    const result = await convert(gzipSync(buildTar(entries)));
    t.diagnostic(`peak ${Math.round(result.peakBytes / MIB)} MiB, ${result.seconds.toFixed(1)} s`);
    assertFailed(result, 4, /bytes of names, links and attributes, a layer may have 2000000 with 268435456/);
  });
});
