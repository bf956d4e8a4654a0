/**
 * The limit of every converter: decompresses gzip files, all at once, a worker thread each, and throws away what comes.
 * `node limit.js isal|zlib FILE…`
 */
import { createReadStream } from "node:fs";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { decompress } from "../../builder/decompress/index.ts";

interface Job {
  readonly engine: "isal" | "zlib";
  readonly file: string;
}

const READ_BYTES = 1 << 20;

async function decompressFile({ engine, file }: Job): Promise<void> {
  let bytes = 0;
  const input = createReadStream(file, { highWaterMark: READ_BYTES });
  for await (const piece of decompress(input, "gzip", { engine })) bytes += piece.length;
  if (bytes === 0) throw new Error(`${file}: nothing came out`);
}

if (isMainThread) {
  const [engine, ...files] = process.argv.slice(2);
  if ((engine !== "isal" && engine !== "zlib") || files.length === 0)
    throw new Error("usage: limit.js isal|zlib FILE…");
  const start = (file: string) =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { engine, file } satisfies Job });
      worker.once("error", reject).once("exit", () => resolve());
    });
  await Promise.all(files.map(start));
} else await decompressFile(workerData as Job);
