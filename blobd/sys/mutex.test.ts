import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { addressOf, allocAligned, Mutex } from "./index.ts";
import { koffi } from "./koffi.ts";

const THREADS = 3;
const ROUNDS = 20_000;

/** Adds to a counter that is not atomic, inside the mutex. */
function count(address: number): void {
  const mutex = new Mutex(address);
  const counter = new Int32Array(koffi().view(address + 64, 4));
  for (let round = 0; round < ROUNDS; round++) {
    mutex.lock();
    const seen = counter[0]!;
    if (round % 500 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0.1);
    counter[0] = seen + 1;
    mutex.unlock();
  }
}

if (!isMainThread) count(workerData as number);
else {
  test("a mutex lets one thread in at a time", async () => {
    const { bytes } = allocAligned(4096);
    bytes.fill(0);
    const workers = Array.from(
      { length: THREADS },
      () => new Worker(new URL(import.meta.url), { workerData: addressOf(bytes) }),
    );
    await Promise.all(workers.map((worker) => once(worker, "exit")));
    assert.equal(bytes.readInt32LE(64), THREADS * ROUNDS);
    assert.equal(bytes.readInt32LE(0), 0);
  });

  test("a mutex whose holder is gone can be freed", () => {
    const { bytes, address } = allocAligned(4096);
    bytes.fill(0);
    const mutex = new Mutex(address);
    mutex.lock();
    mutex.reset();
    mutex.lock();
    mutex.unlock();
    assert.equal(bytes.readInt32LE(0), 0);
  });
}
