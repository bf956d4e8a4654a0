import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { constants, crc32, createDeflateRaw, deflateRawSync } from "node:zlib";
import { FormatError } from "../../formats/bytes/index.ts";
import { decompress, detectCompression } from "./index.ts";
import { chunks, collect, GZIP_ENGINES } from "./testing.ts";

const content = Buffer.alloc(4_000_000, "peers agree on every byte; ");
for (let i = 0; i < content.length; i += 13) content[i] = (i * 17) >> 7;

/** What a program makes of the content on its standard input. */
function piped(command: string, ...args: string[]): Buffer {
  const { stdout, status, error, stderr } = spawnSync(command, args, { input: content, maxBuffer: 1 << 30 });
  assert.equal(status, 0, `${command}: ${error ?? stderr}`);
  return stdout;
}

for (const [command, ...args] of [
  ["gzip", "-1"],
  ["gzip", "-9"],
  ["pigz", "--independent", "--blocksize", "128"],
  ["igzip", "-0"],
  ["igzip", "-3"],
] as const)
  for (const engine of GZIP_ENGINES)
    test(`${engine} reads what ${command} ${args.join(" ")} writes`, async () => {
      const stream = piped(command, ...args, "-c");
      assert.equal(detectCompression(stream), "gzip");
      assert.ok((await collect(decompress(chunks(stream, 70_000), "gzip", { engine }))).equals(content));
    });

for (const args of [
  ["-1"],
  ["-19", "--check"],
  ["--no-check", "-3"],
  ["--ultra", "-20", "--long=27"],
  ["-5", "--format=gzip"],
])
  test(`reads what zstd ${args.join(" ")} writes`, async () => {
    const stream = piped("zstd", ...args, "-c", "-q");
    const compression = detectCompression(stream);
    assert.equal(compression, args.includes("--format=gzip") ? "gzip" : "zstd");
    assert.ok((await collect(decompress(chunks(stream, 70_000), compression))).equals(content));
  });

test("a zstd checksum that does not match is an error", async () => {
  const stream = piped("zstd", "--check", "-c", "-q");
  stream[stream.length - 1]! ^= 1;
  await assert.rejects(collect(decompress(chunks(stream), "zstd")), { name: "FormatError", message: /checksum/ });
});

test("a flipped bit in compressed zstd data is a FormatError, or does not matter", async () => {
  const stream = piped("zstd", "--check", "-3", "-c", "-q");
  for (let i = 0; i < 150; i++) {
    const bad = Buffer.from(stream);
    bad[Math.floor((i / 150) * bad.length)]! ^= 1 << (i % 8);
    try {
      assert.ok((await collect(decompress(chunks(bad), "zstd"))).equals(content), `byte ${i}`);
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
    }
  }
});

for (const engine of GZIP_ENGINES)
  test(`${engine}: a bomb of over 4 GiB stays flat in memory, and its ISIZE wraps`, async () => {
    const { stream, plainBytes } = await bomb();
    let [bytes, mostRss] = [0, 0];
    const before = process.memoryUsage.rss();
    for await (const piece of decompress(chunks(stream, 100_000), "gzip", { engine })) {
      bytes += piece.length;
      if ((bytes & 0xfffffff) < piece.length) mostRss = Math.max(mostRss, process.memoryUsage.rss());
    }
    assert.equal(bytes, plainBytes);
    assert.ok(mostRss - before < 100 << 20, `resident memory grew by ${(mostRss - before) >> 20} MiB`);
    const limited = collect(decompress(chunks(stream, 100_000), "gzip", { engine, maxOutputBytes: 10 << 20 }));
    await assert.rejects(limited, { name: "FormatError", field: "decompressed stream" });
  });

/** One gzip member of 4 GiB and 64 MiB of zeros: a flushed run of deflate blocks repeated 65 times. */
async function bomb(): Promise<{ stream: Buffer; plainBytes: number }> {
  const RUN_BYTES = 64 << 20;
  const RUNS = 65;
  const zeros = Buffer.alloc(RUN_BYTES);
  const deflate = createDeflateRaw({ level: 1 });
  const parts: Buffer[] = [];
  deflate.on("data", (part: Buffer) => parts.push(part));
  deflate.write(zeros);
  await new Promise<void>((done) => deflate.flush(constants.Z_FULL_FLUSH, done));
  deflate.destroy();
  const run = Buffer.concat(parts);
  let crc = 0;
  for (let i = 0; i < RUNS; i++) crc = crc32(zeros, crc);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE((RUN_BYTES * RUNS) % 2 ** 32, 4);
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
  const runs = Array.from({ length: RUNS }, () => run);
  return {
    stream: Buffer.concat([header, ...runs, deflateRawSync(Buffer.alloc(0)), trailer]),
    plainBytes: RUN_BYTES * RUNS,
  };
}
