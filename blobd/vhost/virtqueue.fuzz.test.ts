import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import { test } from "node:test";
import { Random } from "../../formats/bytes/testing.ts";
import { DescState, QueueRegion, queueRegionBytes } from "../../formats/vhost-user/index.ts";
import { Desc } from "../../formats/virtio/index.ts";
import { addressOf, mapShared, memfd, viewMemory } from "../sys/index.ts";
import { Chain, MAX_SEGMENTS, PLACE, type Segments } from "./chain.ts";
import { type QueueStart, RESUME } from "./data-plane.ts";
import { GuestMemory } from "./guest-memory.ts";
import { QueueBroken } from "./queue-broken.ts";
import { DriverQueue, GuestRam, HIGH } from "./testing-guest.ts";
import { Virtqueue } from "./virtqueue.ts";

const LOW_BYTES = 8 << 20;
const WINDOW = { guestAddress: 0x20_0000_0000, bytes: 1 << 20 };

function setUp(size: number) {
  const ram = new GuestRam();
  const host = addressOf(ram.bytes);
  const memory = new GuestMemory();
  memory.setRegions(
    ram.regions.map((region, id) => ({
      id,
      guestAddress: region.guestAddress,
      bytes: region.bytes,
      hostAddress: host + region.fdOffset,
    })),
  );
  memory.setWindow(WINDOW);
  const driver = new DriverQueue(ram, size);
  const bytes = queueRegionBytes(size);
  const fd = memfd("inflight", bytes);
  const start: QueueStart = {
    index: 0,
    size,
    descriptorAddress: driver.desc,
    availableAddress: driver.avail,
    usedAddress: driver.used,
    availIndex: RESUME,
    eventIdx: true,
    indirect: true,
    kickFd: -1,
    callFd: -1,
    inflight: { fd, offset: 0, bytes },
  };
  const region = Buffer.from(viewMemory(mapShared(fd, 0, bytes), bytes));
  const close = (): void => {
    closeSync(fd);
    driver.close();
    ram.close();
  };
  return { ram, host, memory, driver, start, region, close };
}

test("whatever a guest writes into its ring, pieces lie in its memory or are said not to", () => {
  const size = 16;
  const { ram, host, memory, driver, start, close } = setUp(size);
  const random = new Random(1);
  const chain = new Chain();
  const interesting = [0, 1, 15, 16, 4096, LOW_BYTES - 1, LOW_BYTES, HIGH.address, HIGH.address + LOW_BYTES - 8];
  interesting.push(
    WINDOW.guestAddress,
    WINDOW.guestAddress + WINDOW.bytes - 1,
    2 ** 47,
    2 ** 52,
    driver.desc,
    driver.used,
  );
  const address = (): number => random.of(interesting) + random.below(64) * random.of([0, 1, 16]);
  const length = (): number =>
    random.of([0, 1, 15, 16, 32, 160, 4096, 1 << 20, 0xffff_ffff, random.below(0xffff_ffff), MAX_SEGMENTS * 16 + 16]);
  const tables = Array.from({ length: 4 }, () => ram.allocate(64 * Desc.size, 16));
  let popped = 0;
  let broken = 0;
  let queue = new Virtqueue(start, memory);
  for (let round = 0; round < 20_000; round++) {
    for (let i = 0; i < size; i++)
      if (random.chance(30))
        driver.writeDesc(
          driver.desc + i * Desc.size,
          random.chance(40) ? random.of(tables) : address(),
          length(),
          random.chance(90) ? random.of([0, 1, 2, 3, 4]) : random.below(65536),
          random.below(random.chance(90) ? size : 65536),
        );
    for (const table of tables)
      for (let i = 0; i < 64; i += 1 + random.below(8))
        driver.writeDesc(
          table + i * Desc.size,
          address(),
          length(),
          random.of([0, 1, 1, 1, 2, 3, 4]),
          random.below(70),
        );
    driver.makeAvailable(random.chance(97) ? random.below(size) : random.below(65536));
    if (random.chance(1)) ram.dv.setUint16(driver.avail + 2, random.below(65536), true);
    try {
      while (queue.pop(chain)) {
        popped++;
        for (const segments of [chain.readable, chain.writable]) checkSegments(segments, host);
        queue.push(chain.head, 0);
      }
    } catch (error) {
      if (!(error instanceof QueueBroken)) throw error;
      broken++;
      // The device is reset.
      queue.close();
      driver.reset();
      queue = new Virtqueue({ ...start, availIndex: 0 }, memory);
    }
  }
  // Both ends are reached, or the test tests nothing.
  assert.ok(popped > 2000 && broken > 2000, `${popped} ${broken}`);
  queue.close();
  close();
});

function checkSegments(segments: Segments, host: number): void {
  assert.ok(segments.count <= MAX_SEGMENTS);
  let sum = 0;
  let isRam = true;
  for (let i = 0; i < segments.count; i++) {
    const at = segments.address[i] as number;
    const bytes = segments.length[i] as number;
    sum += bytes;
    if (segments.place[i] === PLACE.RAM) {
      // Both regions lie side by side here, but no piece goes from one into the other.
      const offset = at - host;
      const end = offset < LOW_BYTES ? LOW_BYTES : 2 * LOW_BYTES;
      assert.ok(offset >= 0 && offset + bytes <= end, `${offset} ${bytes}`);
    } else {
      isRam = false;
      if (segments.place[i] === PLACE.WINDOW) assert.ok(at >= 0 && at + bytes <= WINDOW.bytes);
      else assert.equal(segments.place[i], PLACE.FOREIGN);
    }
  }
  assert.equal(sum, segments.bytes);
  assert.equal(isRam, segments.isRam);
}

test("a worker may die at any instruction: its successor completes each request once", () => {
  const size = 8;
  const { ram, memory, driver, start, region, close } = setUp(size);
  const random = new Random(2);
  const chain = new Chain();
  const out = ram.allocate(64);
  const pieces = [{ address: out, bytes: 64, writable: true }];
  let added = 0;
  let completed = 0;
  let deaths = 0;
  let queue = new Virtqueue(start, memory);
  const hands: number[] = [];
  for (let step = 0; step < 60_000; step++) {
    const action = random.below(100);
    if (action < 35) {
      if (driver.add(pieces) >= 0) added++;
    } else if (action < 65) {
      if (queue.pop(chain)) hands.push(chain.head);
    } else if (action < 90) {
      // Out of order.
      const [head] = hands.splice(random.below(Math.max(hands.length, 1)), 1);
      if (head !== undefined) queue.push(head, 1);
    } else {
      const [head] = hands.splice(0, 1);
      if (head !== undefined) diesWhilePushing(head, random.below(5));
      deaths++;
      queue.close();
      queue = new Virtqueue(start, memory);
      const repeated = new Set<number>();
      for (let left = hands.length + 1; left > 0; left--) {
        if (!queue.pop(chain)) break;
        repeated.add(chain.head);
        if (!chain.isRepeated) break;
      }
      for (const own of hands) assert.ok(repeated.has(own), `${own} was lost`);
      hands.splice(0, hands.length, ...repeated);
    }
    for (;;) {
      // Throws for a request that is completed and was not in flight.
      if (driver.take() === null) break;
      completed++;
    }
  }
  while (queue.pop(chain)) hands.push(chain.head);
  for (const head of hands) queue.push(head, 1);
  while (driver.take() !== null) completed++;
  assert.equal(completed, added);
  assert.ok(deaths > 1000 && completed > 5000, `${deaths} ${completed}`);
  queue.close();
  close();

  /** The memory's state after `writes` of what a push writes. */
  function diesWhilePushing(head: number, writes: number): void {
    const state = QueueRegion.size + head * DescState.size;
    const used = ram.dv.getUint16(driver.used + 2, true);
    ram.dv.setUint32(driver.used + 4 + (used % size) * 8, head, true);
    if (writes >= 1) region.writeUInt16LE(region.readUInt16LE(QueueRegion.at.lastBatchHead), state + DescState.at.next);
    if (writes >= 2) region.writeUInt16LE(head, QueueRegion.at.lastBatchHead);
    if (writes >= 3) ram.dv.setUint16(driver.used + 2, (used + 1) & 0xffff, true);
    if (writes >= 4) region.writeUInt8(0, state);
    // Not moved: the request is the successor's.
    if (writes < 3) hands.push(head);
  }
});

test("an in-flight region full of nonsense breaks nothing", () => {
  const size = 16;
  const { memory, driver, start, region, close } = setUp(size);
  const random = new Random(3);
  const chain = new Chain();
  for (let round = 0; round < 3000; round++) {
    driver.reset();
    for (let i = 0; i < region.length; i++) region[i] = random.below(256);
    if (random.chance(80)) {
      region.writeUInt16LE(1, QueueRegion.at.version);
      region.writeUInt16LE(size, QueueRegion.at.descNum);
    }
    const queue = new Virtqueue({ ...start, availIndex: random.chance(50) ? RESUME : random.below(65536) }, memory);
    try {
      for (let i = 0; i < 40 && queue.pop(chain); i++) queue.push(chain.head, 0);
    } catch (error) {
      if (!(error instanceof QueueBroken)) throw error;
    }
    queue.close();
  }
  close();
});
