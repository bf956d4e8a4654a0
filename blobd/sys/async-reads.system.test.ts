import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { AsyncReads, allocAligned, PAGE_SIZE } from "./index.ts";

const errnos = osConstants.errno;

function fileOf(t: TestContext, content: Buffer): string {
  // Not in /tmp, which may be a tmpfs without O_DIRECT.
  const folder = mkdtempSync("/var/tmp/async-reads-");
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "file");
  writeFileSync(path, content);
  return path;
}

async function reapAll(reads: AsyncReads, count: number): Promise<Map<number, number>> {
  const results = new Map<number, number>();
  for (let i = 0; i < 1000 && results.size < count; i++) {
    reads.reap((id, result) => results.set(id, result));
    await sleep(1);
  }
  return results;
}

test("reads come back by their numbers, with what they read or why not; no more than fit are taken", async (t) => {
  const content = randomBytes(8 * PAGE_SIZE);
  const fd = openSync(fileOf(t, content), constants.O_RDONLY | constants.O_DIRECT);
  t.after(() => closeSync(fd));
  const reads = new AsyncReads(4);
  const memory = allocAligned(8 * PAGE_SIZE);
  const ids = [2 ** 40 + 1, 7, 0];
  for (const [at, id] of ids.entries())
    assert.equal(reads.submit(id, fd, memory.address + at * PAGE_SIZE, PAGE_SIZE, (2 * at + 1) * PAGE_SIZE), 0);
  assert.equal(reads.submit(99, fd, memory.address + 3 * PAGE_SIZE, PAGE_SIZE, 8 * PAGE_SIZE), 0);
  assert.equal(reads.submit(100, fd, memory.address, PAGE_SIZE, 0), -errnos.EAGAIN);
  const results = await reapAll(reads, 4);
  assert.deepEqual(
    [...results].sort((a, b) => a[0] - b[0]),
    [
      [0, PAGE_SIZE],
      [7, PAGE_SIZE],
      [99, 0],
      [2 ** 40 + 1, PAGE_SIZE],
    ],
  );
  for (const at of ids.keys())
    assert.ok(
      memory.bytes
        .subarray(at * PAGE_SIZE, (at + 1) * PAGE_SIZE)
        .equals(content.subarray((2 * at + 1) * PAGE_SIZE, (2 * at + 2) * PAGE_SIZE)),
    );
  assert.equal(reads.submit(100, fd, memory.address, PAGE_SIZE, 0), 0);
  assert.deepEqual([...(await reapAll(reads, 1))], [[100, PAGE_SIZE]]);
});

test("a descriptor that is none is an error at once", () => {
  const reads = new AsyncReads(1);
  assert.equal(reads.submit(1, 100_000, allocAligned(PAGE_SIZE).address, PAGE_SIZE, 0), -errnos.EBADF);
  reads.reap(() => assert.fail("nothing is under way"));
});
