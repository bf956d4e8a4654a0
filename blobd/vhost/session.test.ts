import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { after, test } from "node:test";
import {
  ConfigSpace,
  F_PROTOCOL_FEATURES,
  FLAG_REPLY,
  ProtocolFeature,
  Request,
  ShmemConfig,
  U64,
  VRING_NO_FD,
} from "../../formats/vhost-user/index.ts";
import { bit, Feature } from "../../formats/virtio/index.ts";
import { eventFd, memfd } from "../sys/index.ts";
import { closeRigs, type Rig, rig } from "./testing.ts";
import { memoryTable, state, u64 } from "./testing-front-end.ts";
import { USER_BASE } from "./testing-guest.ts";
import { OP, operation } from "./testing-operations.ts";

after(closeRigs);

test("features that a device has come with those of the library", async () => {
  const r = await rig({ startsQueue: false });
  for (const feature of [Feature.VERSION_1, Feature.RING_EVENT_IDX, Feature.RING_INDIRECT_DESC, F_PROTOCOL_FEATURES])
    assert.ok((r.frontEnd.features & bit(feature)) !== 0n);
  assert.equal(U64.view(await r.frontEnd.ask(Request.GET_QUEUE_NUM)).value, 4n);
  await r.close();
});

test("the configuration space is read to its end and beyond, and not written", async () => {
  const r = await rig({ startsQueue: false });
  const payload = new Uint8Array(ConfigSpace.size + 8);
  const view = ConfigSpace.view(payload);
  view.start = 2;
  view.size = 8;
  const reply = await r.frontEnd.ask(Request.GET_CONFIG, payload);
  assert.deepEqual([...reply.subarray(ConfigSpace.size)], [3, 4, 0, 0, 0, 0, 0, 0]);
  await assert.rejects(r.frontEnd.confirm(Request.SET_CONFIG, payload), /refused/);
  // A guest may try. The connection lives.
  assert.equal((await r.frontEnd.ask(Request.GET_CONFIG, payload)).length, payload.length);
  await r.close();
});

test("the sizes of shared memory add up to a power of two", async () => {
  for (const [windowBytes, sizes] of [
    [8 << 20, [8 << 20]],
    [12 << 20, [12 << 20, 4 << 20]],
  ] as const) {
    const r = await rig({ startsQueue: false, windowBytes });
    const reply = await r.frontEnd.ask(Request.GET_SHMEM_CONFIG);
    assert.equal(reply.length, ShmemConfig.size + 256 * 8);
    assert.equal(ShmemConfig.view(reply).numRegions, sizes.length);
    assert.deepEqual(
      sizes.map((_, id) => Number(reply.readBigUInt64LE(ShmemConfig.size + id * 8))),
      sizes,
    );
    await r.close();
  }
});

test("a guest that breaks its queue loses the connection, and the front-end is told by its err descriptor", async () => {
  const r = await rig();
  r.queue.makeAvailable(9999);
  r.queue.kick();
  await r.frontEnd.closed();
  await r.backend.ended;
  assert.match(r.log.at(-1) ?? "", /queue 0: available ring: descriptor 9999 of 64/);
  await r.close();
});

test("a request that no guest may make breaks the queue too", async () => {
  const r = await rig();
  await assert.rejects(r.request(operation(OP.FAIL)), /no request was completed|gone/);
  await r.frontEnd.closed();
  assert.match(r.log.at(-1) ?? "", /queue 0: a request that no guest may make/);
  await r.close();
});

test("memory is exchanged under a running queue", async () => {
  const r = await rig();
  const { frontEnd } = r;
  await r.request(operation(OP.ECHO));
  // The same memory by other descriptors, and one more region: the queue does not notice.
  const extra = memfd("extra", 1 << 20);
  const region = { guestAddress: 0x2_0000_0000, bytes: 1 << 20, userAddress: 0x1000, fdOffset: 0 };
  const { regions, fd } = frontEnd.ram;
  await frontEnd.confirm(Request.SET_MEM_TABLE, memoryTable([...regions, region]), [fd, fd, extra]);
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  // Without it, and the high region gone.
  await frontEnd.confirm(Request.SET_MEM_TABLE, memoryTable(regions.slice(0, 1)), [fd]);
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  // At another address for the front-end: the ring is found there.
  const moved = regions.slice(0, 1).map((low) => ({ ...low, fdOffset: 0, bytes: low.bytes }));
  await frontEnd.confirm(Request.SET_MEM_TABLE, memoryTable(moved), [fd]);
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  closeSync(extra);
  await r.close();
});

test("memory regions come and go one by one", async () => {
  const r = await rig({ memorySlots: 64 });
  assert.equal(U64.view(await r.frontEnd.ask(Request.GET_MAX_MEM_SLOTS)).value, 64n);
  const extra = memfd("extra", 1 << 20);
  const single = (guestAddress: number): Uint8Array => {
    const payload = new Uint8Array(40);
    payload.set(memoryTable([{ guestAddress, bytes: 1 << 20, userAddress: guestAddress, fdOffset: 0 }]).subarray(8), 8);
    return payload;
  };
  for (let i = 0; i < 20; i++)
    await r.frontEnd.confirm(Request.ADD_MEM_REG, single(0x2_0000_0000 + i * (1 << 20)), [extra]);
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  for (let i = 0; i < 20; i++) await r.frontEnd.confirm(Request.REM_MEM_REG, single(0x2_0000_0000 + i * (1 << 20)));
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  await assert.rejects(r.frontEnd.confirm(Request.REM_MEM_REG, single(0x2_0000_0000)), /refused/);
  await r.backend.ended;
  assert.match(r.log.at(-1) ?? "", /no memory region at 0x200000000/);
  closeSync(extra);
  await r.close();
});

const short = memfd("short", 0);
ftruncateSync(short, 4096);
const plain = openSync("/dev/zero", "r");
/** What a front-end must not say, and what the log says then. */
const OFFENCES: readonly [string, (rig: Rig) => void | Promise<void>, RegExp][] = [
  ["an unknown request", ({ frontEnd }) => frontEnd.send(999), /request 999/],
  ["version 2", ({ frontEnd }) => frontEnd.send(Request.GET_FEATURES, undefined, [], 2), /version 2/],
  ["a reply", ({ frontEnd }) => frontEnd.send(Request.GET_FEATURES, undefined, [], 1 | FLAG_REPLY), /reply flag/],
  [
    "a payload too long",
    ({ frontEnd }) => frontEnd.send(Request.SET_FEATURES, new Uint8Array(16)),
    /16 bytes, expected 8/,
  ],
  [
    "a payload too short",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_ADDR, new Uint8Array(8)),
    /8 bytes, expected 40/,
  ],
  [
    "descriptors where none belong",
    ({ frontEnd }) => frontEnd.send(Request.GET_FEATURES, undefined, [short]),
    /1 descriptors, expected 0/,
  ],
  [
    "no descriptor where one belongs",
    ({ frontEnd }) => frontEnd.send(Request.SET_INFLIGHT_FD, new Uint8Array(24)),
    /0 descriptors, expected 1/,
  ],
  [
    "features that were not offered",
    ({ frontEnd }) => frontEnd.send(Request.SET_FEATURES, u64(1n << 5n)),
    /features 0x20 were set/,
  ],
  [
    "protocol features that were not offered",
    ({ frontEnd }) => frontEnd.send(Request.SET_PROTOCOL_FEATURES, u64(2n)),
    /protocol features 0x2 were set/,
  ],
  [
    "a request without its feature",
    ({ frontEnd }) => frontEnd.send(Request.GET_SHMEM_CONFIG),
    /GET_SHMEM_CONFIG without/,
  ],
  [
    "a queue that is not there",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_NUM, state(4, 8)),
    /found 4, the device has 4/,
  ],
  [
    "a queue size that is none",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_NUM, state(1, 24)),
    /queue size of 24/,
  ],
  ["an index out of range", ({ frontEnd }) => frontEnd.send(Request.SET_VRING_BASE, state(1, 65536)), /index 65536/],
  [
    "a base while the queue runs",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_BASE, state(0, 3)),
    /while it runs/,
  ],
  ["enabling by 2", ({ frontEnd }) => frontEnd.send(Request.SET_VRING_ENABLE, state(0, 2)), /expected 0 or 1/],
  [
    "a kick without a descriptor",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_KICK, u64(1n)),
    /1 descriptors, 0 came/,
  ],
  [
    "a kick with one too many",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_KICK, u64(BigInt(VRING_NO_FD)), [short]),
    /0 descriptors, 1 came/,
  ],
  [
    "a kick that is no eventfd",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_KICK, u64(1n), [plain]),
    /no eventfd/,
  ],
  [
    "a call with bits that mean nothing",
    ({ frontEnd }) => frontEnd.send(Request.SET_VRING_CALL, u64(1n << 40n)),
    /0x10000000000/,
  ],
  [
    "memory of no file",
    ({ frontEnd }) => frontEnd.send(Request.SET_MEM_TABLE, memoryTable(frontEnd.ram.regions), [short]),
    /2 regions, 1 descriptors/,
  ],
  [
    "memory behind the end of its file",
    ({ frontEnd }) => frontEnd.send(Request.SET_MEM_TABLE, memoryTable(frontEnd.ram.regions), [short, short]),
    /of a file of 4096/,
  ],
  [
    "memory that overlaps",
    ({ frontEnd }) => {
      const [low] = frontEnd.ram.regions;
      frontEnd.send(Request.SET_MEM_TABLE, memoryTable([low!, { ...low!, guestAddress: 4096, userAddress: 1 << 40 }]), [
        short,
        short,
      ]);
    },
    /overlaps/,
  ],
  [
    "memory not in pages",
    ({ frontEnd }) =>
      frontEnd.send(
        Request.SET_MEM_TABLE,
        memoryTable([{ guestAddress: 1, bytes: 4096, userAddress: 0, fdOffset: 0 }]),
        [short],
      ),
    /expected pages/,
  ],
  [
    "memory that goes with a running ring in it",
    async ({ frontEnd }) => {
      frontEnd.send(Request.SET_MEM_TABLE, memoryTable(frontEnd.ram.regions.slice(1)), [frontEnd.ram.fd]);
    },
    /its ring is in no memory region/,
  ],
  [
    "a ring outside of memory",
    async ({ frontEnd }) => {
      const payload = new Uint8Array(40);
      payload[0] = 1;
      frontEnd.send(Request.SET_VRING_NUM, state(1, 8));
      frontEnd.send(Request.SET_VRING_ADDR, payload);
      frontEnd.send(Request.SET_VRING_ENABLE, state(1, 1));
      const kick = eventFd();
      frontEnd.send(Request.SET_VRING_KICK, u64(1n), [kick]);
      closeSync(kick);
    },
    /its ring is in no memory region/,
  ],
  [
    "a ring that reaches out of memory",
    async ({ frontEnd }) => {
      const payload = new DataView(new ArrayBuffer(40));
      payload.setUint32(0, 1, true);
      for (const at of [8, 16, 24]) payload.setBigUint64(at, BigInt(USER_BASE + (8 << 20) - 64), true);
      frontEnd.send(Request.SET_VRING_NUM, state(1, 1024));
      frontEnd.send(Request.SET_VRING_ADDR, new Uint8Array(payload.buffer));
      frontEnd.send(Request.SET_VRING_ENABLE, state(1, 1));
      const kick = eventFd();
      frontEnd.send(Request.SET_VRING_KICK, u64(1n), [kick]);
      closeSync(kick);
    },
    /descriptor table: 16384 bytes at 0x7fffc0 are not in guest memory/,
  ],
  [
    "configuration beyond its limit",
    ({ frontEnd }) => {
      const payload = new Uint8Array(ConfigSpace.size + 8);
      ConfigSpace.view(payload).start = 250;
      ConfigSpace.view(payload).size = 8;
      frontEnd.send(Request.GET_CONFIG, payload);
    },
    /8 bytes at 250/,
  ],
  [
    "an in-flight region of no queues",
    ({ frontEnd }) => frontEnd.send(Request.GET_INFLIGHT_FD, new Uint8Array(24)),
    /0 queues of 0/,
  ],
  [
    "an in-flight region that is too short",
    async ({ frontEnd }) => {
      await frontEnd.stopQueue(0);
      const payload = new Uint8Array(24);
      new DataView(payload.buffer).setUint16(16, 4, true);
      new DataView(payload.buffer).setUint16(18, 1024, true);
      new DataView(payload.buffer).setUint32(0, 1 << 20, true);
      frontEnd.send(Request.SET_INFLIGHT_FD, payload, [short]);
    },
    /4 queues take/,
  ],
];

for (const [name, offend, logged] of OFFENCES)
  test(`the connection ends, and says why: ${name}`, async () => {
    const r = await rig();
    await offend(r);
    await r.frontEnd.closed();
    await r.backend.ended;
    assert.match(r.log.at(-1) ?? "", logged);
    await r.close();
  });

test("a front-end without protocol features has its queues enabled at once", async () => {
  const r = await rig({ startsQueue: false, without: [ProtocolFeature.REPLY_ACK] });
  r.frontEnd.send(Request.SET_FEATURES, u64(r.frontEnd.features & ~bit(F_PROTOCOL_FEATURES)));
  const { queue, frontEnd } = r;
  frontEnd.send(Request.SET_VRING_NUM, state(0, queue.size));
  const payload = new DataView(new ArrayBuffer(40));
  for (const [at, value] of [
    [8, queue.desc],
    [16, queue.used],
    [24, queue.avail],
  ] as const)
    payload.setBigUint64(at, BigInt(USER_BASE + value), true);
  frontEnd.send(Request.SET_VRING_ADDR, new Uint8Array(payload.buffer));
  frontEnd.send(Request.SET_VRING_KICK, u64(0n), [queue.kickFd]);
  frontEnd.send(Request.SET_VRING_CALL, u64(0n), [queue.callFd]);
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  await r.close();
});

test("a ring without a kick descriptor is looked at again and again", async () => {
  const r = await rig();
  r.frontEnd.send(Request.SET_VRING_KICK, u64(BigInt(VRING_NO_FD)));
  await r.frontEnd.ask(Request.GET_FEATURES);
  r.queue.kick = () => {};
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  await r.close();
});
