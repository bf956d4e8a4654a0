import assert from "node:assert/strict";
import { test } from "node:test";
import * as fuse from "../../../formats/fuse/index.ts";
import { OUT_ARGS } from "../../fuse/index.ts";
import { fill, MemoryFileSystem } from "../../fuse/testing/index.ts";
import { PARKED, PLACE, PUT_BACK } from "../../vhost/index.ts";
import { TestQueue } from "./testing.ts";

const { Opcode } = fuse;

function started(seed = 1) {
  const fileSystem = new MemoryFileSystem();
  const queue = new TestQueue(fileSystem, seed);
  assert.equal(queue.init()!.error, 0);
  return { fileSystem, queue };
}

const makeFile = (queue: TestQueue, name: string) => {
  const reply = queue.call(Opcode.MKNOD, { args: fill(fuse.MknodIn, { mode: 0o100644 }), names: [name] });
  return fuse.EntryOut.view(reply!.body).nodeid;
};
const write = (queue: TestQueue, nodeId: number, data: Uint8Array) =>
  queue.call(Opcode.WRITE, { nodeId, args: fill(fuse.WriteIn, { size: data.length }), data, limit: 8 });
const read = (queue: TestQueue, nodeId: number, size: number, limit = size) =>
  queue.call(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { size }), limit });

for (const [where, places] of [
  ["guest memory", [PLACE.RAM]],
  ["the DAX window too", [PLACE.RAM, PLACE.WINDOW]],
  ["the front-end's memory too", [PLACE.RAM, PLACE.FOREIGN]],
  ["all kinds of memory", [PLACE.RAM, PLACE.WINDOW, PLACE.FOREIGN]],
  ["the window alone", [PLACE.WINDOW]],
] as const)
  test(`requests and replies in pieces of any length, in ${where}`, () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { queue } = started(seed);
      queue.places = places;
      queue.maxPiece = [3, 17, 100, 5000, 70_000][seed % 5]!;
      const length = Math.min(100_000, queue.maxPiece * 200);
      const nodeId = makeFile(queue, `file ${seed}`);
      const data = Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff));
      assert.equal(write(queue, nodeId, data)!.body.readUInt32LE(0), length);
      assert.deepEqual(read(queue, nodeId, length)!.body, data);
      // Shorter than asked for, and a buffer longer than asked for.
      assert.deepEqual(read(queue, nodeId, length + 50)!.body, data);
      assert.deepEqual(read(queue, nodeId, 10, length)!.body, data.subarray(0, 10));
      assert.equal(read(queue, nodeId + 1, 10)!.error, -2);
      const listed = queue.call(Opcode.READDIR, { args: fill(fuse.ReadIn, { size: 500 }), limit: 500 });
      assert.match(listed!.body.toString("latin1"), new RegExp(`file ${seed}`));
      const { unique } = queue.call(Opcode.LOOKUP, { names: ["absent"] })!;
      assert.equal(queue.call(Opcode.LOOKUP, { names: ["absent"] })!.unique, unique + 2n);
    }
  });

test("a WRITE of 1 MiB goes through in pages, its data where they lie", () => {
  const { queue, fileSystem } = started();
  queue.maxPiece = 8192;
  const nodeId = makeFile(queue, "large");
  const data = Buffer.alloc(1 << 20, "0123456789abcdef!");
  assert.equal(write(queue, nodeId, data)!.error, 0);
  assert.ok(
    fileSystem.nodes
      .get(nodeId)!
      .content.subarray(0, 1 << 20)
      .equals(data),
  );
});

test("FORGET takes no room, and leaves none touched", () => {
  const { queue, fileSystem } = started();
  const message = queue.message(Opcode.FORGET, { nodeId: 5, args: fill(fuse.ForgetIn, { nlookup: 2 }) });
  assert.equal(queue.send(message, 0), null);
  assert.equal(queue.send(message, 100), null);
  assert.deepEqual(fileSystem.forgotten, [
    [5, 2],
    [5, 2],
  ]);
});

test("what is no request is answered with an error where there is room for one", () => {
  const { queue } = started();
  const getattr = queue.message(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) });
  assert.equal(queue.send(getattr, OUT_ARGS + 104)!.error, 0);
  assert.equal(queue.send(getattr, OUT_ARGS + 103)!.error, -22);
  assert.equal(queue.send(getattr, OUT_ARGS)!.error, -22);
  for (const room of [0, 1, OUT_ARGS - 1]) assert.equal(queue.send(getattr, room), null);
  for (const length of [0, 1, 8, 39, 41, 55]) assert.equal(queue.send(getattr.subarray(0, length), 200)!.error, -22);
  assert.equal(queue.send(Buffer.concat([getattr, Buffer.alloc(1)]), 200)!.error, -22);
  assert.equal(queue.send(Buffer.alloc(300 << 10), 200)!.error, -7);
});

test("data and buffers longer than any that were agreed on are refused", () => {
  const { queue } = started();
  queue.maxPiece = 60_000;
  const nodeId = makeFile(queue, "f");
  assert.equal(write(queue, nodeId, Buffer.alloc((1 << 20) + 4096))!.error, 0);
  assert.equal(write(queue, nodeId, Buffer.alloc((1 << 20) + 4097))!.error, -22);
  assert.equal(read(queue, nodeId, 2 << 20)!.error, -22);
  // So many bytes are asked for as there is room: the rest of the size is not looked at.
  assert.equal(read(queue, nodeId, 0xffffffff, 1000)!.body.length, 1000);
  const short = queue.message(Opcode.WRITE, { nodeId });
  assert.equal(queue.send(short, 100)!.error, -22);
});

test("memory that cannot be reached is EFAULT, and a device without a window has none in it", () => {
  const fileSystem = new MemoryFileSystem();
  const queue = new TestQueue(fileSystem, 1, false);
  queue.init();
  const nodeId = makeFile(queue, "f");
  write(queue, nodeId, Buffer.alloc(1000));
  queue.maxPiece = 40;
  queue.isStrict = false;
  queue.places = [PLACE.RAM, PLACE.WINDOW];
  const replies = Array.from({ length: 20 }, () => read(queue, nodeId, 1000));
  // Where the header itself is out of reach nothing can be said at all.
  for (const reply of replies) assert.ok(reply === null || reply.error === -14);
  queue.places = [PLACE.RAM, PLACE.FOREIGN];
  queue.mapperStatus = -38;
  for (let i = 0; i < 20; i++) {
    const reply = read(queue, nodeId, 1000);
    assert.ok(reply === null || reply.error === -14);
  }
});

test("a parked request is answered when its time has come", () => {
  const { queue, fileSystem } = started();
  const nodeId = makeFile(queue, "wait");
  const message = queue.message(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) });
  queue.lay(message, 100);
  queue.chain.head = 9;
  assert.equal(queue.handler.handle(queue.chain), PARKED);
  fileSystem.wake(-11);
  assert.deepEqual(queue.completed, [[9, OUT_ARGS]]);
  assert.equal(queue.read(OUT_ARGS)!.error, -11);
  assert.equal(queue.read(OUT_ARGS)!.unique, message.readBigUInt64LE(8));
});

test("a parked request is handled again, from its start, when what it waits for is there", () => {
  const { queue, fileSystem } = started();
  const nodeId = makeFile(queue, "wait");
  const message = queue.message(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) });
  queue.lay(message, 100);
  queue.chain.head = 9;
  assert.equal(queue.handler.handle(queue.chain), PARKED);
  const [reply] = fileSystem.parked.values();
  fileSystem.wakeAgain();
  assert.deepEqual(queue.completed, [[9, OUT_ARGS + fuse.OpenOut.size]]);
  const answer = queue.read(OUT_ARGS + fuse.OpenOut.size)!;
  assert.deepEqual([answer.error, answer.unique], [0, message.readBigUInt64LE(8)]);
  reply!.again!();
  reply!.finish(-5);
  assert.equal(queue.completed.length, 1, "it is answered once");
});

test("one that is put back when it is handled again, because some queue is being stopped, gets its turn later", () => {
  const { queue, fileSystem } = started();
  const nodeId = makeFile(queue, "wait");
  queue.lay(queue.message(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) }), 100);
  assert.equal(queue.handler.handle(queue.chain), PARKED);
  queue.places = [PLACE.FOREIGN];
  queue.lay(queue.message(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) }), 100);
  queue.mapperStatus = -4;
  fileSystem.wakeAgain();
  assert.deepEqual(queue.completed, []);
  assert.ok(queue.handler.idle!() >= 0);
  assert.deepEqual(queue.completed, []);
  queue.mapperStatus = null;
  queue.handler.idle!();
  assert.equal(queue.completed.length, 1);
});

test("a parked request is forgotten when its queue stops, and answered when it has come again", () => {
  const { queue, fileSystem } = started();
  const nodeId = makeFile(queue, "wait");
  const message = queue.message(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) });
  queue.lay(message, 100);
  queue.handler.handle(queue.chain);
  const [lost] = fileSystem.parked.values();
  queue.handler.stopped();
  assert.equal(fileSystem.parked.size, 0);
  assert.deepEqual(queue.completed, []);
  assert.equal(queue.handler.handle(queue.chain), PARKED);
  lost!.finish(0);
  assert.deepEqual(queue.completed, []);
  fileSystem.wake(-4);
  assert.equal(queue.completed.length, 1);
});

test("a request during which the queue was told to stop is put back, whatever came of it", () => {
  const { queue, fileSystem } = started();
  queue.places = [PLACE.RAM, PLACE.FOREIGN];
  queue.maxPiece = 10;
  queue.mapperStatus = -4;
  const message = queue.message(Opcode.MKDIR, { args: fill(fuse.MkdirIn, {}), names: ["directory"] });
  queue.lay(message, 200);
  assert.equal(queue.handler.handle(queue.chain), PUT_BACK);
  assert.equal(fileSystem.nodes.size, 1);
  queue.mapperStatus = null;
  queue.chain.isRepeated = true;
  assert.ok(queue.handler.handle(queue.chain) > OUT_ARGS);
  assert.equal(fileSystem.nodes.size, 2);
});

test("a reset ends the mount", () => {
  const { queue, fileSystem } = started();
  queue.handler.reset();
  queue.handler.reset();
  assert.equal(fileSystem.destroyed, 1);
  assert.equal(queue.call(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) })!.error, -5);
  assert.equal(queue.init()!.error, 0);
  queue.handler.close();
});
