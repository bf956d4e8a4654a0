/**
 * Many readers of one file at once, each at places of its own, as guests that fault: prints what the reads took as JSON.
 * Arguments: FILE READERS READS BYTES. UV_THREADPOOL_SIZE is at least READERS.
 */
import { open } from "node:fs/promises";

const [path, ...numbers] = process.argv.slice(2);
const [readers, reads, bytes] = numbers.map(Number) as [number, number, number];
const file = await open(path!, "r");
const places = Math.floor((await file.stat()).size / bytes);
const tookMs: number[] = [];

/** A fixed sequence, another one for each reader. */
async function readAll(reader: number): Promise<void> {
  const into = Buffer.alloc(bytes);
  let state = reader + 1;
  for (let i = 0; i < reads; i++) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    const place = (state >>> 0) % places;
    const startMs = performance.now();
    const { bytesRead } = await file.read(into, 0, bytes, place * bytes);
    tookMs.push(performance.now() - startMs);
    if (bytesRead !== bytes) throw new Error(`read ${bytesRead} of ${bytes} bytes at ${place * bytes}`);
  }
}

const startMs = performance.now();
await Promise.all(Array.from({ length: readers }, (_, reader) => readAll(reader)));
process.stdout.write(JSON.stringify({ seconds: (performance.now() - startMs) / 1000, tookMs }));
