import assert from "node:assert/strict";
import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as fuse from "../../../formats/fuse/index.ts";
import { fill, MemoryFileSystem } from "../../fuse/testing/index.ts";
import { addressOf } from "../../sys/index.ts";
import { PLACE } from "../../vhost/index.ts";
import { ReadOnlyMemory } from "./index.ts";
import { FOREIGN_AT, TestQueue } from "./testing.ts";

const { Opcode } = fuse;
const EFAULT = 14;
const work = mkdtempSync(join(tmpdir(), "read-only-memory-"));
after(() => rmSync(work, { recursive: true }));

function fileOf(name: string, bytes: Buffer, guestAddress: number) {
  const path = join(work, name);
  writeFileSync(path, bytes);
  return { path, file: { guestAddress, bytes: bytes.length, fd: openSync(path, "r") } };
}
const pattern = (bytes: number, seed: number) =>
  Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 31 + seed) & 0xff));

test("memory that is files: within one, from one into the next, and nothing beyond", () => {
  const [first, second] = [pattern(8192, 1), pattern(4096, 2)];
  const { file: b, path } = fileOf("b", second, 0x10000 + 8192);
  const memory = new ReadOnlyMemory([b, fileOf("a", first, 0x10000).file]);
  const into = Buffer.alloc(12_288);
  const read = (guestAddress: number, bytes: number) => memory.read(guestAddress, bytes, addressOf(into));
  assert.equal(read(0x10000 + 100, 5000), 0);
  assert.ok(into.subarray(0, 5000).equals(first.subarray(100, 5100)));
  assert.equal(read(0x10000, 12_288), 0);
  assert.ok(into.equals(Buffer.concat([first, second])));
  assert.equal(read(0x10000 + 12_287, 1), 0);
  for (const [at, bytes] of [
    [0x10000 - 1, 1],
    [0x10000 - 1, 2],
    [0x10000 + 12_287, 2],
    [0x10000 + 12_288, 1],
  ] as const)
    assert.equal(read(at, bytes), -EFAULT, `${bytes} bytes at ${at}`);
  assert.deepEqual(
    [0xffff, 0x10000, 0x12fff, 0x13000].map((at) => memory.has(at)),
    [false, true, true, false],
  );
  // Cut on the host meanwhile: an error, no end of the process.
  truncateSync(path, 100);
  assert.equal(read(0x10000 + 8192, 100), 0);
  assert.equal(read(0x10000 + 8192, 101), -EFAULT);
});

test("what is written may lie in such memory; what is read into it is EFAULT", () => {
  const content = pattern(16 << 10, 3);
  const queue = new TestQueue(new MemoryFileSystem(), 1, true, [fileOf("c", content, FOREIGN_AT).file]);
  // As with QEMU: no message by which the front-end copies.
  queue.mapperStatus = -38;
  queue.init();
  const made = queue.call(Opcode.MKNOD, { args: fill(fuse.MknodIn, { mode: 0o100644 }), names: ["f"] });
  const nodeId = fuse.EntryOut.view(made!.body).nodeid;
  const message = queue.message(Opcode.WRITE, {
    nodeId,
    args: fill(fuse.WriteIn, { size: 10_000 }),
    data: Buffer.alloc(10_000),
  });
  queue.maxPiece = 20_000;
  queue.lay(message, 24);
  // The data of the request as a piece of its own, in the file.
  const { readable } = queue.chain;
  const head = message.length - 10_000;
  readable.count = 2;
  readable.length[0] = head;
  readable.length[1] = 10_000;
  readable.place[1] = PLACE.FOREIGN;
  readable.address[1] = FOREIGN_AT + 77;
  readable.isRam = false;
  assert.equal(queue.read(queue.handler.handle(queue.chain))!.error, 0);
  const read = (places: readonly number[]) => {
    queue.places = places;
    return queue.call(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { size: 10_000 }), limit: 10_000 });
  };
  assert.ok(read([PLACE.RAM])!.body.equals(content.subarray(77, 10_077)));
  // The reply of a READ has its header in guest memory, and the room for data in the file.
  const asks = queue.message(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { size: 4096 }) });
  queue.places = [PLACE.RAM];
  queue.isStrict = false;
  queue.lay(asks, 16 + 4096);
  const { writable } = queue.chain;
  writable.count = 2;
  writable.length[0] = 16;
  writable.length[1] = 4096;
  writable.place[1] = PLACE.FOREIGN;
  writable.address[1] = FOREIGN_AT;
  writable.isRam = false;
  assert.equal(queue.handler.handle(queue.chain), 16);
  assert.equal(queue.read(16)!.error, -EFAULT);
});
