import assert from "node:assert/strict";
import { constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { tryFlock, unlockFlock } from "../../sys/index.ts";
import { PARKED } from "../index.ts";
import { createPassthroughShared, openPassthrough } from "./index.ts";
import { Client, refusal } from "./testing.ts";

const { EAGAIN, EBADF, EINTR, EINVAL } = os.errno;
const { O_RDWR, O_CREAT } = constants;
const READ = 0;
const WRITE = 1;
const UNLOCK = 2;
const ROOT = 1;
const dir = mkdtempSync(join(tmpdir(), "passthrough-locks-"));
after(() => rmSync(dir, { recursive: true }));
const config = { source: dir, posixLocks: true, flock: true };
const shared = createPassthroughShared(config);
// Two threads of one mount, as far as the tables can tell.
const [a, b] = [0, 1].map(() => new Client(openPassthrough(config, shared))) as [Client, Client];

/** Looks after parked requests as a transport does, until one is answered. */
async function answered(client: Client): Promise<number> {
  for (let tries = 0; tries < 500; tries++) {
    const waitMs = client.fs.resume!();
    const last = client.parked.at(-1)!;
    if (last.status !== null) return last.status;
    assert.ok(waitMs > 0 && waitMs <= 50, `asked to be called again in ${waitMs} ms`);
    await sleep(waitMs);
  }
  throw new Error("never answered");
}

test("ranges are an owner's, whatever file handle it comes by", () => {
  const { nodeId, fh } = a.create(ROOT, "ranges", O_RDWR | O_CREAT);
  const other = b.open(nodeId, O_RDWR);
  assert.equal(a.setlk(nodeId, fh, 1n, WRITE, { start: 0n, end: 9n }), 0);
  assert.equal(
    refusal(() => b.setlk(nodeId, other, 2n, READ, { start: 5n, end: 5n })),
    EAGAIN,
  );
  assert.equal(b.setlk(nodeId, other, 2n, READ, { start: 10n }), 0);
  assert.equal(b.setlk(nodeId, other, 1n, READ, { start: 0n, end: 4n }), 0, "the owner changes its own");
  assert.equal(b.getlk(nodeId, other, 3n, WRITE, 7n, 7n), WRITE);
  assert.equal(b.getlk(nodeId, other, 3n, WRITE, 2n, 2n), READ);
  assert.equal(a.getlk(nodeId, fh, 1n, WRITE, 0n, 9n), UNLOCK, "not in its own way");
  a.flush(nodeId, fh, 1n);
  assert.equal(b.setlk(nodeId, other, 2n, WRITE, { start: 0n, end: 9n }), 0, "an owner that closes gives all back");
  b.flush(nodeId, other, 2n);
});

test("a lock that is held is waited for, without holding the thread up", async () => {
  const { nodeId, fh } = a.create(ROOT, "wait", O_RDWR | O_CREAT);
  assert.equal(a.fs.resume!(), -1);
  a.setlk(nodeId, fh, 1n, WRITE);
  assert.equal(a.setlk(nodeId, fh, 2n, WRITE, { wait: true }), PARKED);
  a.fs.resume!();
  assert.equal(a.parked.at(-1)!.status, null);
  b.setlk(nodeId, fh, 1n, UNLOCK);
  assert.equal(await answered(a), 0);
  assert.equal(
    refusal(() => b.setlk(nodeId, fh, 1n, READ)),
    EAGAIN,
  );
});

test("a waiting request is answered when it is interrupted, from another thread too", async () => {
  const { nodeId, fh } = a.create(ROOT, "interrupt", O_RDWR | O_CREAT);
  a.setlk(nodeId, fh, 1n, WRITE);
  assert.equal(a.setlk(nodeId, fh, 2n, WRITE, { wait: true }), PARKED);
  const unique = a.lastUnique;
  for (let i = 0; i < 1000; i++) b.fs.interrupt!(0x1234_5678_9abcn + BigInt(i));
  b.fs.interrupt!(unique);
  assert.equal(await answered(a), -EINTR);
  assert.equal(a.fs.resume!(), -1);
});

test("flock(2) locks hold between open files, and against the host", async () => {
  const { nodeId, fh } = a.create(ROOT, "flock", O_RDWR | O_CREAT);
  const other = b.open(nodeId, O_RDWR);
  const host = openSync(join(dir, "flock"), "r");
  assert.equal(a.setlk(nodeId, fh, 1n, WRITE, { flock: true }), 0);
  assert.equal(
    refusal(() => b.setlk(nodeId, other, 1n, READ, { flock: true })),
    EAGAIN,
  );
  assert.equal(tryFlock(host, "shared"), false);
  assert.equal(b.setlk(nodeId, other, 1n, READ, { flock: true, wait: true }), PARKED);
  a.release(nodeId, fh);
  assert.equal(await answered(b), 0);
  assert.equal(tryFlock(host, "shared"), true);
  unlockFlock(host);
});

test("ranges and handles that are none are refused", () => {
  const { nodeId, fh } = a.create(ROOT, "bad", O_RDWR | O_CREAT);
  assert.equal(
    refusal(() => a.setlk(nodeId, fh, 1n, WRITE, { start: 5n, end: 4n })),
    EINVAL,
  );
  assert.equal(
    refusal(() => a.setlk(nodeId, fh, 1n, WRITE, { end: 2n ** 63n })),
    EINVAL,
  );
  assert.equal(
    refusal(() => a.setlk(nodeId, fh, 1n, 3)),
    EINVAL,
  );
  assert.equal(
    refusal(() => a.setlk(nodeId, fh + 1, 1n, WRITE, { flock: true })),
    EBADF,
  );
  assert.equal(
    refusal(() => a.setlk(ROOT, fh, 1n, WRITE, { flock: true })),
    EBADF,
    "a handle of another file",
  );
});
