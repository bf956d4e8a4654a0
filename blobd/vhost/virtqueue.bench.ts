/**
 * What a request costs before a device does anything for it:
 *
 *   node dist/blobd/vhost/virtqueue.bench.js
 *
 * First the ring machinery alone, on one thread: requests of a FUSE read's shape (header and arguments in two readable
 * pieces, a header and 4 pages to be written) are popped and pushed. Then a worker with a handler that does nothing, driven
 * by a front-end in the same process: one request at a time, and 16 at once. CPU is the worker thread's, by the kernel.
 */
import { readdirSync, readFileSync } from "node:fs";
import { queueRegionBytes } from "../../formats/vhost-user/index.ts";
import { addressOf, memfd } from "../sys/index.ts";
import { Chain } from "./chain.ts";
import { RESUME } from "./data-plane.ts";
import { GuestMemory } from "./guest-memory.ts";
import { rig } from "./testing.ts";
import { DriverQueue, GuestRam, type Piece } from "./testing-guest.ts";
import { Virtqueue } from "./virtqueue.ts";

const SIZE = 128;

function readShape(ram: GuestRam): Piece[] {
  return [
    { address: ram.allocate(40), bytes: 40 },
    { address: ram.allocate(40), bytes: 40 },
    { address: ram.allocate(16), bytes: 16, writable: true },
    ...Array.from({ length: 4 }, () => ({ address: ram.allocate(4096, 4096), bytes: 4096, writable: true })),
  ];
}

function machinery(indirect: boolean): void {
  const ram = new GuestRam();
  const memory = new GuestMemory();
  const host = addressOf(ram.bytes);
  memory.setRegions(
    ram.regions.map(({ guestAddress, bytes, fdOffset }, id) => ({
      id,
      guestAddress,
      bytes,
      hostAddress: host + fdOffset,
    })),
  );
  const driver = new DriverQueue(ram, SIZE);
  const inflightBytes = queueRegionBytes(SIZE);
  const queue = new Virtqueue(
    {
      index: 0,
      size: SIZE,
      descriptorAddress: driver.desc,
      availableAddress: driver.avail,
      usedAddress: driver.used,
      availIndex: RESUME,
      eventIdx: true,
      indirect,
      kickFd: -1,
      callFd: -1,
      inflight: { fd: memfd("bench", inflightBytes), offset: 0, bytes: inflightBytes },
    },
    memory,
  );
  const pieces = readShape(ram);
  const heads = Array.from({ length: 16 }, () => driver.add(pieces, indirect));
  const chain = new Chain();
  const rounds = 200_000;
  let best = Number.POSITIVE_INFINITY;
  for (let pass = 0; pass < 5; pass++) {
    const began = performance.now();
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 16 && queue.pop(chain); i++) queue.push(chain.head, 16);
      for (const head of heads) driver.makeAvailable(head);
    }
    best = Math.min(best, performance.now() - began);
  }
  const ns = (best * 1e6) / (rounds * 16);
  console.log(`ring alone, ${indirect ? "indirect" : "direct"} descriptors: ${ns.toFixed(0)} ns a request of 7 pieces`);
}

/** CPU time of this process's threads, in ns. */
function threadTimes(): Map<string, number> {
  return new Map(
    readdirSync("/proc/self/task").map((tid) => [
      tid,
      Number(readFileSync(`/proc/self/task/${tid}/schedstat`, "latin1").split(" ")[0]),
    ]),
  );
}

async function worker(atOnce: number): Promise<void> {
  const before = new Set(threadTimes().keys());
  const { queue, close } = await rig({ size: SIZE, worker: "./testing-idle-worker.js" });
  const pieces = readShape(queue.ram);
  const total = 60_000;
  let used = new Map<string, number>();
  let began = 0;
  for (let done = -total / 4, sent = done; done < total; done++) {
    if (done === 0) {
      used = threadTimes();
      began = performance.now();
    }
    let added = 0;
    for (; sent - done < atOnce; sent++, added++) queue.add(pieces);
    if (added > 0) queue.kick(added);
    // Looks again and again, as a guest's processor may: the wait through the pool would be all that is measured.
    while (queue.take() === null);
  }
  const elapsed = performance.now() - began;
  const spent = [...threadTimes()]
    .filter(([tid]) => !before.has(tid))
    .map(([tid, ns]) => ns - (used.get(tid) ?? 0))
    .sort((a, b) => b - a)[0] as number;
  console.log(
    `worker, ${atOnce} at once: ${(spent / total / 1000).toFixed(2)} µs of CPU a request, ` +
      `${((elapsed * 1000) / total).toFixed(2)} µs of time`,
  );
  await close();
}

machinery(false);
machinery(true);
await worker(1);
await worker(16);
