import assert from "node:assert/strict";
import { closeSync, fstatSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { duplicate, isEventFd, replaceDescriptor } from "./descriptors.ts";
import { eventFd, signalEvent, takeEvent } from "./event-fd.ts";
import { allocAligned } from "./memory.ts";
import { POLLHUP, POLLIN, PollSet } from "./poll-set.ts";
import { copyMemory, mapShared, memfd, unmapShared, viewMemory } from "./shared-memory.ts";
import {
  acceptUnix,
  connectUnix,
  listenUnix,
  MAX_MESSAGE_FDS,
  socketPair,
  UnixSocket,
  WOULD_BLOCK,
} from "./unix-socket.ts";

test("a message carries bytes and descriptors", () => {
  const [a, b] = socketPair();
  const left = new UnixSocket(a);
  const right = new UnixSocket(b);
  const memory = allocAligned(64);
  memory.bytes.write("hello");
  const file = memfd("test", 8192);
  assert.equal(left.send(memory.address, 5, [file, file, file]), 5);
  const fds: number[] = [];
  assert.equal(right.receive(memory.address + 8, 32, fds), 5);
  assert.equal(memory.bytes.toString("latin1", 8, 13), "hello");
  assert.equal(fds.length, 3);
  for (const fd of fds) {
    assert.equal(fstatSync(fd).ino, fstatSync(file).ino);
    closeSync(fd);
  }
  assert.equal(right.receive(memory.address, 32, fds), WOULD_BLOCK);
  left.close();
  assert.equal(right.receive(memory.address, 32, fds), 0);
  right.close();
  closeSync(file);
});

test("a message with the most descriptors arrives, with one more it is refused and none leaks", () => {
  const [a, b] = socketPair();
  const left = new UnixSocket(a);
  const right = new UnixSocket(b);
  const memory = allocAligned(64);
  const file = memfd("test", 4096);
  assert.equal(left.send(memory.address, 1, Array(MAX_MESSAGE_FDS).fill(file)), 1);
  const fds: number[] = [];
  assert.equal(right.receive(memory.address, 1, fds), 1);
  assert.equal(fds.length, MAX_MESSAGE_FDS);
  for (const fd of fds.splice(0)) closeSync(fd);
  assert.throws(() => left.send(memory.address, 1, Array(MAX_MESSAGE_FDS + 1).fill(file)), /33 descriptors/);
  left.close();
  right.close();
  closeSync(file);
});

test("listening, connecting, accepting; too long a path", () => {
  const folder = mkdtempSync(join(tmpdir(), "unix-socket-"));
  const path = join(folder, "s");
  const server = listenUnix(path);
  assert.equal(acceptUnix(server), WOULD_BLOCK);
  const client = connectUnix(path);
  const accepted = acceptUnix(server);
  assert.ok(accepted > 2);
  assert.throws(() => listenUnix(path), { code: "EADDRINUSE" });
  assert.throws(() => connectUnix(`/${"x".repeat(108)}`), { code: "ENAMETOOLONG" });
  assert.throws(() => connectUnix(join(folder, "absent")), { code: "ENOENT" });
  for (const fd of [server, client, accepted]) closeSync(fd);
  rmSync(folder, { recursive: true });
});

test("poll finds events and hang-ups", async () => {
  const event = eventFd();
  const [a, b] = socketPair();
  const set = new PollSet(3);
  set.add(event, POLLIN);
  set.add(-1, POLLIN);
  set.add(a, POLLIN);
  assert.throws(() => set.add(0, POLLIN), RangeError);
  assert.equal(set.wait(0), 0);
  signalEvent(event);
  assert.equal(set.wait(-1), 1);
  assert.equal(set.ready(0), POLLIN);
  assert.equal(set.ready(2), 0);
  assert.ok(takeEvent(event));
  assert.ok(!takeEvent(event));
  closeSync(b);
  await set.waitAsync(-1);
  assert.equal(set.ready(0), 0);
  assert.ok((set.ready(2) & POLLHUP) !== 0);
  closeSync(a);
  closeSync(event);
});

test("a semaphore is taken one at a time", () => {
  const semaphore = eventFd(2, true);
  assert.deepEqual([takeEvent(semaphore), takeEvent(semaphore), takeEvent(semaphore)], [true, true, false]);
  closeSync(semaphore);
});

test("shared memory is one memory, seen twice", () => {
  const fd = memfd("test", 12288);
  const one = mapShared(fd, 0, 12288);
  const two = mapShared(fd, 4096, 8192);
  const other = duplicate(fd);
  new Uint8Array(viewMemory(one, 12288)).fill(7, 4096, 4100);
  assert.deepEqual([...new Uint8Array(viewMemory(two, 5))], [7, 7, 7, 7, 0]);
  copyMemory(one, two, 4);
  assert.deepEqual([...new Uint8Array(viewMemory(one, 5))], [7, 7, 7, 7, 0]);
  unmapShared(one, 12288);
  unmapShared(two, 8192);
  closeSync(fd);
  assert.equal(fstatSync(other).size, 12288);
  closeSync(other);
  assert.throws(() => mapShared(other, 0, 4096), { code: "EBADF" });
});

test("descriptors are replaced in place, and known by their kind", () => {
  const event = eventFd();
  const other = eventFd();
  const file = memfd("test", 0);
  const own = duplicate(event);
  assert.deepEqual([isEventFd(own), isEventFd(file)], [true, false]);
  replaceDescriptor(own, other);
  signalEvent(own);
  assert.deepEqual([takeEvent(event), takeEvent(other)], [false, true]);
  for (const fd of [event, other, file, own]) closeSync(fd);
});
