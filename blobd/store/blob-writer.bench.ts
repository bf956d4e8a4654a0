/**
 * How fast a blob is written: `node dist/blobd/store/blob-writer.bench.js [folder]` (default: the temporary folder; use
 * one on the disk that counts). 1.36 GB as 83,000 small files (the shape of linux-source) and as 4 MiB files, with and
 * without sha256, against the bare memory copy and the bare hash; then 10,000 duplicates compared and taken back.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Sha256, sha256 } from "../sys/index.ts";
import { BlobFile } from "./blob-file.ts";
import { BlobWriter } from "./blob-writer.ts";
import { BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { Segments } from "./segments.ts";
import { Store } from "./store.ts";

const MIB = 1024 * 1024;
const SMALL_FILES = 83_000;
const SMALL_MEAN_BYTES = 16 * 1024;
const LARGE_FILES = 325;
const LARGE_MIB = 4;
const DUPLICATES = 10_000;

const NO_HASH: Sha256 = { update() {}, async updateAsync() {}, digestHex: () => "0".repeat(64), free() {} };
/** Removes the file instead of storing it, after the same wait for the disk. */
const DROP = {
  async done(file: BlobFile, _digestHex: string, sizeBytes: number): Promise<void> {
    await file.seal(sizeBytes, true);
    this.drop(file);
  },
  drop(file: BlobFile): void {
    file.close();
    rmSync(file.path);
  },
};

const source = Buffer.alloc(2 * MIB);
for (let i = 0; i < source.length; i++) source[i] = (i * 2_654_435_761) >>> 13;

/** Sizes of 1 byte to twice the mean, the same on every run. */
function* smallSizes(count: number): Generator<number> {
  for (let i = 0, seed = 1; i < count; i++) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    yield 1 + (seed % (2 * SMALL_MEAN_BYTES));
  }
}

async function writeSmall(writer: BlobWriter): Promise<number> {
  let bytes = 0;
  for (const size of smallSizes(SMALL_FILES)) {
    source.writeUInt32LE(bytes >>> 0);
    writer.begin();
    if (writer.write(source, 0, size)) await writer.drain();
    bytes += size;
  }
  return bytes;
}

async function writeLarge(writer: BlobWriter): Promise<number> {
  for (let i = 0; i < LARGE_FILES; i++) {
    writer.begin(SEGMENT_BYTES);
    for (let piece = 0; piece < LARGE_MIB; piece++) {
      source.writeUInt32LE(i * LARGE_MIB + piece);
      if (writer.write(source, 0, MIB)) await writer.drain();
    }
  }
  return LARGE_FILES * LARGE_MIB * MIB;
}

async function writeDuplicates(writer: BlobWriter): Promise<void> {
  const sizes = [...smallSizes(DUPLICATES)];
  const starts: number[] = [];
  const put = async (index: number): Promise<number> => {
    source.writeUInt32LE(index);
    const start = writer.begin() * 4096;
    if (writer.write(source, 0, sizes[index]!)) await writer.drain();
    return start;
  };
  for (let i = 0; i < DUPLICATES; i++) starts.push(await put(i));
  await timed("10,000 duplicates compared and taken back", async () => {
    for (let i = 0; i < DUPLICATES; i++) {
      const start = await put(i);
      if (!writer.sameBytes(starts[i]!, start, sizes[i]!)) throw new Error("a duplicate was not recognised");
      writer.rewind(start);
    }
    return sizes.reduce((sum, size) => sum + size, 0);
  });
}

/** CPU time of this thread so far, in milliseconds. */
function threadMs(): number {
  return Number(readFileSync("/proc/thread-self/schedstat", "latin1").split(" ")[0]) / 1e6;
}

/** `work` returns how many bytes it handled. The CPU time is what other work of this thread would have to wait for. */
async function timed(what: string, work: () => Promise<number> | number): Promise<void> {
  const [startMs, startCpuMs] = [performance.now(), threadMs()];
  const bytes = await work();
  const [ms, cpuMs] = [performance.now() - startMs, threadMs() - startCpuMs];
  const rate = (bytes / 1e6 / ms).toFixed(2);
  console.log(
    `${what.padEnd(52)} ${ms.toFixed(0).padStart(6)} ms ${rate.padStart(6)} GB/s, this thread ${cpuMs.toFixed(0)} ms`,
  );
}

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "store-bench-"));
const pool = new BufferPool();
const start = (hash: Sha256): BlobWriter => {
  const file = BlobFile.create(join(folder, "blob"), true);
  return new BlobWriter(file, new Segments(file, pool, undefined, hash), Number.MAX_SAFE_INTEGER, DROP);
};
try {
  const target = Buffer.alloc(SEGMENT_BYTES);
  const everything = [...smallSizes(SMALL_FILES)].reduce((sum, size) => sum + size, 0);
  await timed("memory copy of 83,000 files", () => {
    for (const size of smallSizes(SMALL_FILES)) target.set(source.subarray(0, size), 4096);
    return everything;
  });
  await timed("sha256 of 1.36 GB", () => {
    const hash = sha256(null);
    for (let done = 0; done < everything; done += SEGMENT_BYTES) hash.update(source);
    return everything;
  });
  for (const [shape, write] of [
    ["83,000 files of 16 KiB", writeSmall],
    ["325 files of 4 MiB", writeLarge],
  ] as const)
    for (const [how, hash] of [
      ["without hash", () => NO_HASH],
      ["with sha256 on the pool", () => sha256()],
      ["with sha256 on this thread", () => sha256(null)],
    ] as const)
      await timed(`${shape}, ${how}`, async () => {
        const writer = start(hash());
        const bytes = await write(writer);
        await writer.finish();
        return bytes;
      });
  const writer = start(sha256());
  await writeDuplicates(writer);
  await writer.abort();
  const store = await Store.open(join(folder, "store"));
  await timed("putBytes of a 20 MiB meta, durable", async () => {
    await store.putBytes(Buffer.concat(Array(10).fill(source)));
    return 20 * MIB;
  });
  store.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
