import assert from "node:assert/strict";
import { after, test } from "node:test";
import { closeRigs, place, rig } from "./testing.ts";
import { DriverQueue, HIGH } from "./testing-guest.ts";
import { OP, operation } from "./testing-operations.ts";

after(closeRigs);

for (const eventIdx of [true, false])
  test(`requests are served in order, many at once, around the ring's end; EVENT_IDX ${eventIdx}`, async () => {
    const { queue, close, log } = await rig({ eventIdx, size: 16 });
    const { bytes } = queue.ram;
    const slots = Array.from({ length: 8 }, () => place(queue, operation(OP.ECHO), 41));
    let sent = 0;
    let received = 0;
    const order: number[] = [];
    while (received < 5000) {
      let added = 0;
      while (sent < 5000 && sent - received < 8) {
        const slot = slots[sent % 8];
        bytes.writeUInt32LE(sent, (slot?.pieces[0]?.address ?? 0) + 36);
        order.push(queue.add(slot?.pieces ?? []));
        added++;
        sent++;
      }
      if (added > 0) queue.kick(added);
      const { head, bytes: written } = await queue.next();
      assert.equal(head, order[received]);
      assert.equal(written, 41);
      assert.equal(bytes.readUInt32LE((slots[received % 8]?.out ?? 0) + 36), received);
      received++;
    }
    assert.equal(queue.outstanding, 0);
    assert.deepEqual(log, ["test: a front-end has connected"]);
    await close();
  });

test("indirect tables, many pieces, and pieces on both sides of the hole", async () => {
  const { queue, close } = await rig();
  const text = Buffer.from("the quick brown fox jumps over the lazy dog");
  queue.ram.bytes.set(text, HIGH.offset);
  const out = queue.ram.allocate(64);
  const pieces = [
    ...Array.from(text, (_, i) => ({ address: HIGH.address + i, bytes: 1 })),
    { address: out, bytes: 10, writable: true },
    { address: HIGH.address + 4096, bytes: 0, writable: true },
    { address: HIGH.address + 4096, bytes: 100, writable: true },
  ];
  assert.ok(queue.add(pieces, true) >= 0);
  queue.kick();
  assert.equal((await queue.next()).bytes, text.length);
  assert.equal(queue.ram.bytes.toString("latin1", out, out + 10), "the quick ");
  const at = HIGH.offset + 4096;
  assert.equal(queue.ram.bytes.toString("latin1", at, at + text.length - 10), text.toString("latin1", 10));
  await close();
});

test("parked requests are completed out of order", async () => {
  const { queue, close, request } = await rig();
  const parked = place(queue, operation(OP.PARK, [60_000]), 41);
  const head = queue.add(parked.pieces);
  queue.kick();
  const timed = queue.add(place(queue, operation(OP.PARK, [250]), 41).pieces);
  queue.kick();
  assert.equal((await request(operation(OP.ECHO))).length, 41);
  assert.equal((await queue.next()).head, timed);
  queue.add(place(queue, operation(OP.RELEASE), 1).pieces);
  queue.kick();
  const heads = [(await queue.next()).head, (await queue.next()).head];
  assert.ok(heads.includes(head));
  assert.equal(queue.ram.bytes.readUInt32LE(parked.out), OP.PARK);
  await close();
});

test("a queue is stopped and goes on where it was; parked requests come again", async () => {
  const { queue, close, frontEnd, request } = await rig();
  for (let i = 0; i < 5; i++) await request(operation(OP.ECHO));
  const head = queue.add(place(queue, operation(OP.PARK, [400]), 41).pieces);
  queue.kick();
  await request(operation(OP.ECHO));
  const base = await frontEnd.stopQueue(0);
  assert.equal(base, 7);
  // Nothing is served while it is stopped.
  queue.add(place(queue, operation(OP.ECHO), 41).pieces);
  queue.kick();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(queue.take(), null);
  await frontEnd.startQueue(0, queue, base);
  const done = [await queue.next(), await queue.next()].map((taken) => taken.head);
  assert.ok(done.includes(head));
  await close();
});

test("a driver that begins anew does not get the requests of its predecessor", async () => {
  const { queue, close, frontEnd, request } = await rig();
  await request(operation(OP.ECHO));
  queue.add(place(queue, operation(OP.PARK, [60_000]), 41).pieces);
  queue.kick();
  await request(operation(OP.ECHO));
  assert.equal(await frontEnd.stopQueue(0), 3);
  queue.reset();
  await frontEnd.startQueue(0, queue, 0);
  for (let i = 0; i < 70; i++) await request(operation(OP.ECHO));
  assert.equal(queue.take(), null);
  await close();
});

test("a second queue has a worker of its own", async () => {
  const { queue, close, frontEnd, request } = await rig();
  const other = new DriverQueue(frontEnd.ram, 8);
  await frontEnd.startQueue(1, other);
  assert.equal((await request(operation(OP.ECHO), 41, other)).length, 41);
  assert.equal((await request(operation(OP.ECHO), 41, queue)).length, 41);
  await close();
  other.close();
});
