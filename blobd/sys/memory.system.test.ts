import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, write, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { addressOf, allocAligned, PAGE_SIZE } from "./index.ts";

const BYTES = 4 << 20;

if (isMainThread) runTests();
else writeForever(workerData as string);

/** Keeps direct writes from aligned memory going, and garbage coming, until terminated. */
function writeForever(path: string): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_DIRECT);
  const next = () => {
    const { bytes } = allocAligned(BYTES);
    write(fd, bytes.fill(0x42), 0, BYTES, 0, (error) => {
      if (error) throw error;
      parentPort!.postMessage("written");
      next();
    });
  };
  for (let i = 0; i < 3; i++) next();
}

function runTests(): void {
  const dir = mkdtempSync(join(tmpdir(), "sys-memory-"));
  after(() => rmSync(dir, { recursive: true }));

  test("allocAligned gives whole pages at the address it names", () => {
    for (const bytes of [1, PAGE_SIZE, 100_000, BYTES]) {
      const memory = allocAligned(bytes);
      assert.equal(memory.bytes.length, bytes);
      assert.equal(memory.address % PAGE_SIZE, 0);
      assert.equal(addressOf(memory.bytes), memory.address);
      assert.equal(addressOf(memory.bytes.subarray(bytes - 1)), memory.address + bytes - 1);
    }
  });

  test("O_DIRECT takes it", () => {
    const path = join(dir, "direct");
    const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_DIRECT);
    const { bytes } = allocAligned(2 * PAGE_SIZE);
    bytes.fill(7);
    assert.equal(writeSync(fd, bytes, PAGE_SIZE, PAGE_SIZE, 0), PAGE_SIZE);
    closeSync(fd);
    assert.deepEqual(readFileSync(path), Buffer.alloc(PAGE_SIZE, 7));
  });

  test("a worker terminated while its direct writes are pending does no harm", async () => {
    for (let round = 0; round < 6; round++) {
      const path = join(dir, `worker-${round}`);
      const worker = new Worker(new URL(import.meta.url), { workerData: path });
      await once(worker, "message");
      await worker.terminate();
      assert.ok(readFileSync(path).equals(Buffer.alloc(BYTES, 0x42)));
    }
  });
}
