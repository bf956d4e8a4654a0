import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { gzipSync } from "node:zlib";
import { type Compression, decompress } from "./index.ts";
import { chunks, GZIP_ENGINES, zstdFrame } from "./testing.ts";

interface Job {
  readonly compression: Compression;
  readonly engine: "isal" | "zlib";
  readonly stream: Uint8Array;
  /** Decompress the stream again and again until terminated. */
  readonly endless: boolean;
}

if (isMainThread) runTests();
else await work(workerData as Job);

async function work({ compression, engine, stream, endless }: Job): Promise<void> {
  do {
    let bytes = 0;
    for await (const piece of decompress(chunks(stream, 100_000), compression, { engine })) bytes += piece.length;
    parentPort!.postMessage(bytes);
  } while (endless);
}

function runTests(): void {
  const content = Buffer.alloc(5_000_000, "abcdefghijk");
  for (let i = 0; i < content.length; i += 7) content[i] = (i * 31) >> 9;
  const jobs: Omit<Job, "endless">[] = GZIP_ENGINES.map((engine) => ({
    compression: "gzip",
    engine,
    stream: gzipSync(content, { level: 1 }),
  }));
  jobs.push({ compression: "zstd", engine: "isal", stream: zstdFrame(content) });
  const start = (job: Job) => new Worker(new URL(import.meta.url), { workerData: job });

  test("several workers decompress at once", async () => {
    const workers = [...jobs, ...jobs].map((job) => start({ ...job, endless: false }));
    const lengths = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
    assert.deepEqual(
      lengths,
      workers.map(() => content.length),
    );
  });

  for (const job of jobs)
    test(`${job.compression} by ${job.engine}: workers terminated in the middle of a pool call do no harm`, async () => {
      for (let round = 0; round < 5; round++) {
        const workers = [0, 1].map(() => start({ ...job, endless: true }));
        await Promise.all(workers.map((worker) => once(worker, "message")));
        await new Promise((done) => setTimeout(done, round));
        await Promise.all(workers.map((worker) => worker.terminate()));
      }
    });
}
