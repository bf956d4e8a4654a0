import assert from "node:assert/strict";
import { closeSync, constants, openSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeTestBlob } from "../fetch/testing.ts";
import { AsyncReads, allocAligned, PAGE_SIZE } from "../sys/index.ts";
import { startTestService } from "./testing.ts";

// Reads of a served file that wait in the kernel: what imagefs asks for data by.

const CHUNK = 64 << 10;
const blob = await makeTestBlob(16, CHUNK);

test("whoever reads past the page cache need not wait in the call, and is told what came of it", async (t) => {
  const { ask, server } = await startTestService(t, blob, { giveUpMs: 800, stallMs: 400 });
  const { served } = await ask();
  const fd = openSync(served[0]!.path, constants.O_RDONLY | constants.O_DIRECT);
  t.after(() => closeSync(fd));
  server.fault = (request, response) => {
    setTimeout(() => server.serve(request, response), 300);
    return true;
  };
  const reads = new AsyncReads(8);
  const memory = allocAligned(4 * PAGE_SIZE);
  const places = [3, 9, 1, 12];
  const startMs = performance.now();
  for (const [at, place] of places.entries())
    assert.equal(reads.submit(place, fd, memory.address + at * PAGE_SIZE, PAGE_SIZE, place * CHUNK), 0);
  const submittedMs = performance.now() - startMs;
  assert.ok(submittedMs < 200, `it took ${submittedMs} ms to ask`);
  const results = new Map<number, number>();
  const reap = async () => {
    for (let i = 0; i < 1000 && results.size < places.length; i++) {
      reads.reap((id, result) => results.set(id, result));
      await sleep(5);
    }
  };
  await reap();
  assert.deepEqual(
    [...results.values()],
    places.map(() => PAGE_SIZE),
  );
  for (const [at, place] of places.entries())
    assert.ok(
      memory.bytes
        .subarray(at * PAGE_SIZE, (at + 1) * PAGE_SIZE)
        .equals(blob.content.subarray(place * CHUNK, place * CHUNK + PAGE_SIZE)),
    );
  server.stop();
  results.clear();
  places.length = 1;
  assert.equal(reads.submit(5, fd, memory.address, PAGE_SIZE, 5 * CHUNK), 0);
  await reap();
  assert.deepEqual([...results], [[5, -5]], "EIO when it cannot be had");
});
