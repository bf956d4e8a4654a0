import assert from "node:assert/strict";
import { closeSync, openSync } from "node:fs";
import { test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import * as fuse from "../../../formats/fuse/index.ts";
import { fill, MemoryFileSystem } from "../../fuse/testing/index.ts";
import { PARKED, PLACE } from "../../vhost/index.ts";
import { FOREIGN_AT, TestQueue } from "./testing.ts";

const { Opcode } = fuse;
const OPCODES = Object.values(Opcode);
const REQUESTS = 4000;

/** A request that is well-formed, of any kind that the file system of the test has. */
function wellFormed(random: Random, queue: TestQueue): Buffer {
  const nodeId = 1 + random.below(6);
  const names = [random.of(["a", "b", "wait", "crash", "x".repeat(1 + random.below(300))])];
  // Files of terabytes are for another test.
  const offset = random.below(100_000);
  const data = Buffer.alloc(random.below(6000), "data");
  return random.of([
    () => queue.message(Opcode.LOOKUP, { nodeId, names }),
    () => queue.message(Opcode.GETATTR, { nodeId, args: fill(fuse.GetattrIn, {}) }),
    () => queue.message(Opcode.MKNOD, { nodeId, args: fill(fuse.MknodIn, {}), names }),
    () => queue.message(Opcode.MKDIR, { nodeId, args: fill(fuse.MkdirIn, {}), names }),
    () => queue.message(Opcode.CREATE, { nodeId, args: fill(fuse.CreateIn, {}), names }),
    () => queue.message(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) }),
    () => queue.message(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { offset, size: random.below(5000) }) }),
    () => queue.message(Opcode.WRITE, { nodeId, args: fill(fuse.WriteIn, { offset, size: data.length }), data }),
    () => queue.message(Opcode.READDIR, { nodeId, args: fill(fuse.ReadIn, { size: random.below(5000) }) }),
    () => queue.message(Opcode.UNLINK, { nodeId, names }),
  ])();
}

/** Bytes that have little in common with a request. */
function malformed(random: Random): Buffer {
  const message = Buffer.alloc(random.of([0, 39, 40, 48, 56, 80, 81, 128, 700, 5000]) + random.below(9));
  for (let byte = 0; byte < message.length; byte++) if (random.chance(20)) message[byte] = random.below(256);
  if (message.length >= 40) {
    if (random.chance(90)) message.writeUInt32LE(message.length, 0);
    if (random.chance(95)) message.writeUInt32LE(random.of(OPCODES), 4);
    if (random.chance(90)) message.writeBigUInt64LE(BigInt(random.below(6)), 16);
    if (random.chance(90)) message.writeUInt32LE(0, 36);
  }
  if (message.length >= 64) message.writeBigUInt64LE(BigInt(random.below(100_000)), 48);
  return message;
}

/**
 * Requests with random bytes, lengths and room, in random pieces of all kinds of memory: whatever they are, the handler
 * does not throw, and writes nothing but a reply (TestQueue.read).
 */
test("no request breaks the queue", () => {
  let done = 0;
  const fd = openSync(process.execPath, "r");
  const file = { guestAddress: FOREIGN_AT + 300, bytes: 4096, fd };
  for (let seed = 1; seed <= 5; seed++) {
    const random = new Random(seed);
    const fileSystem = new MemoryFileSystem();
    // In two of the runs a part of the memory that only the front-end has is a file: requests find its bytes there.
    const queue = new TestQueue(fileSystem, seed, true, seed > 3 ? [file] : []);
    queue.places = [PLACE.RAM, PLACE.RAM, PLACE.WINDOW, PLACE.FOREIGN];
    for (let i = 0; i < REQUESTS; i++) {
      if (!queue.isMounted) queue.init();
      queue.maxPiece = random.of([1, 16, 40, 200, 5000]);
      const message = random.chance(70) ? wellFormed(random, queue) : malformed(random);
      const damages = message.length > 0 && random.chance(40) ? random.below(4) : 0;
      for (let damage = 0; damage < damages; damage++)
        message[random.below(Math.min(message.length, 90))] = random.below(256);
      queue.lay(message, random.of([0, 15, 16, 24, 120, 144, 3000]) + random.below(3));
      const written = queue.handler.handle(queue.chain);
      if (written === PARKED) fileSystem.wake(0);
      else if (queue.read(written)?.error === 0) done++;
    }
    queue.handler.close();
  }
  closeSync(fd);
  // Enough of them were good, so that there was something to go wrong.
  assert.ok(done > REQUESTS / 2, `${done} requests succeeded`);
});
