import assert from "node:assert/strict";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../formats/bytes/testing.ts";
import { BackendRequest, FsRequest, ProtocolFeature } from "../../formats/vhost-user/index.ts";
import { PLACE } from "./chain.ts";
import { LocalDataPlane } from "./local-data-plane.ts";
import { closeRigs, place, type Rig, rig, WINDOW_BYTES } from "./testing.ts";
import { DriverQueue } from "./testing-guest.ts";
import { OP, operation } from "./testing-operations.ts";
import { PENDING, WindowState } from "./window-state.ts";

const folder = mkdtempSync(join(tmpdir(), "window-"));
after(() => rmSync(folder, { recursive: true }));
after(closeRigs);
const PAGE = 4096;
const MIB = 1 << 20;
/** A file whose every page says which one it is. */
const file = join(folder, "file");
writeFileSync(file, Buffer.concat(Array.from({ length: 1024 }, (_, page) => Buffer.alloc(PAGE, `page ${page}.`))));
const other = join(folder, "other");
writeFileSync(other, Buffer.alloc(2 * MIB, "other."));

const { SHMEM_MAP, SHMEM_UNMAP, CONFIG_CHANGE } = BackendRequest;

async function ask(rig: Rig, op: number, args: readonly number[], path = ""): Promise<number> {
  return (await rig.request(operation(op, args, path), 4)).readInt32LE(0);
}
const map = (rig: Rig, fdOffset: number, shmOffset: number, bytes: number, path = file): Promise<number> =>
  ask(rig, OP.MAP, [fdOffset, shmOffset, bytes, 1], path);
const unmap = (rig: Rig, shmOffset: number, bytes: number): Promise<number> =>
  ask(rig, OP.UNMAP, [0, shmOffset, bytes]);

test("a file is mapped, behind a barrier, and unmapped", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  const channel = r.frontEnd.channel;
  assert.equal(await map(r, 3 * PAGE, 2 * MIB, 2 * PAGE), 0);
  assert.deepEqual(channel?.requests, [SHMEM_MAP, CONFIG_CHANGE]);
  assert.equal(channel?.read(2 * MIB + PAGE, 7).toString(), "page 4.");
  assert.equal(channel?.mapped.get(2 * MIB)?.writable, true);
  // Mapped just like that already: the front-end is not asked.
  assert.equal(await map(r, 3 * PAGE, 2 * MIB, 2 * PAGE), 0);
  assert.equal(channel?.requests.length, 2);
  // Something else there, in part.
  assert.equal(await map(r, 0, 2 * MIB + PAGE, PAGE), -22);
  assert.equal(await unmap(r, 2 * MIB, PAGE), -22);
  assert.equal(await unmap(r, 2 * MIB, 2 * PAGE), 0);
  assert.deepEqual(channel?.requests.slice(2), [SHMEM_UNMAP, CONFIG_CHANGE]);
  assert.equal(channel?.mapped.size, 0);
  assert.equal(await unmap(r, 2 * MIB, 2 * PAGE), 0);
  assert.equal(channel?.requests.length, 4);
  await r.close();
});

test("what is not in pages, or not in the window, is refused", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  assert.equal(await map(r, 0, WINDOW_BYTES - PAGE, PAGE), 0);
  for (const [fdOffset, shmOffset, bytes] of [
    [0, WINDOW_BYTES, PAGE],
    [0, WINDOW_BYTES - PAGE, 2 * PAGE],
    [1, 0, PAGE],
    [0, 1, PAGE],
    [0, 0, PAGE - 1],
    [0, 0, 0],
    [0, 2 ** 53, PAGE],
  ] as const)
    assert.equal(await map(r, fdOffset, shmOffset, bytes), -22, `${fdOffset} ${shmOffset} ${bytes}`);
  assert.equal(r.frontEnd.channel?.requests.length, 2);
  await r.close();
});

test("a device without a window has none to map into", async () => {
  const r = await rig();
  assert.equal(await map(r, 0, 0, PAGE), -19);
  await r.close();
});

test("the guest's address of the window is learned from the memory table; guest memory is not mapped anew", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES, windowAddress: 0x20_0000_0000 });
  let tables = 0;
  const { setMemory } = r.plane;
  r.plane.setMemory = (regions) => {
    tables++;
    return setMemory.call(r.plane, regions);
  };
  const places = async (): Promise<number[][]> => {
    const request = operation(OP.PLACES);
    const { pieces, out } = place(r.queue, request, 96);
    const [first, last] = pieces as [(typeof pieces)[0], (typeof pieces)[0]];
    r.queue.add([
      first,
      { address: 0x20_0000_0000 + 5 * PAGE, bytes: 100 },
      { address: 0x30_0000_0000, bytes: 7 },
      last,
    ]);
    r.queue.kick();
    const { bytes } = await r.queue.next();
    const found = new Float64Array(bytes / 8);
    new Uint8Array(found.buffer).set(r.queue.ram.bytes.subarray(out, out + bytes));
    return [1, 2].map((i) => [...found.slice(i * 3, i * 3 + 3)]);
  };
  const foreign = [PLACE.FOREIGN, 0x30_0000_0000, 7];
  assert.deepEqual(await places(), [[PLACE.FOREIGN, 0x20_0000_0000 + 5 * PAGE, 100], foreign]);
  assert.equal(await map(r, 0, MIB, MIB), 0);
  assert.deepEqual(await places(), [[PLACE.WINDOW, 5 * PAGE, 100], foreign]);
  // More mappings than the table has room for.
  for (let i = 2; i < 8; i++) assert.equal(await map(r, 0, i * MIB, MIB), 0);
  for (let i = 1; i < 8; i++) assert.equal(await unmap(r, i * MIB, MIB), 0);
  assert.deepEqual(await places(), [[PLACE.WINDOW, 5 * PAGE, 100], foreign]);
  assert.equal(tables, 0);
  assert.deepEqual(r.log, ["test: a front-end has connected"]);
  await r.close();
});

test("the older messages map, unmap and copy where the front-end speaks those", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES, without: [ProtocolFeature.SHMEM_MAP] });
  const channel = r.frontEnd.channel;
  assert.equal(await map(r, 0, 0, MIB), 0);
  assert.equal(await map(r, 0, MIB, MIB, other), 0);
  assert.deepEqual(channel?.requests, [FsRequest.FS_MAP, FsRequest.FS_MAP]);
  assert.equal(channel?.read(MIB - PAGE, 9).toString(), "page 255.");
  // From the file into the window, where guest memory is another file.
  const target = 0x10_0000_0000 + MIB + 100;
  assert.equal(await ask(r, OP.TRANSFER, [PAGE * 7, target, 7, 1], file), 7);
  assert.equal(channel?.read(MIB + 100, 7).toString(), "page 7.");
  // And back, into the file.
  assert.equal(await ask(r, OP.TRANSFER, [PAGE * 9 + 1, target, 5, 0], file), 5);
  assert.equal(channel?.read(9 * PAGE, 7).toString(), "ppage .");
  assert.equal(await ask(r, OP.TRANSFER, [0, 0x50_0000_0000, 7, 1], file), -14);
  assert.equal(await unmap(r, MIB, MIB), 0);
  assert.deepEqual(channel?.requests.slice(-1), [FsRequest.FS_UNMAP]);
  await r.close();
});

test("without acknowledgements, what is asked is taken as done", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES, without: [ProtocolFeature.REPLY_ACK] });
  assert.equal(await map(r, 0, 0, MIB), 0);
  assert.equal(await unmap(r, 0, MIB), 0);
  assert.equal(await ask(r, OP.TRANSFER, [0, 0, 7, 1], file), -38);
  await r.close();
});

test("a queue that is stopped while it waits for the front-end lets go, and the request comes again", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  const { channel } = r.frontEnd;
  assert.ok(channel !== null);
  let open = (): void => {};
  channel.gate = new Promise((resolve) => {
    open = resolve;
  });
  const { pieces, out } = place(r.queue, operation(OP.MAP, [0, 0, MIB, 1], file), 4);
  r.queue.add(pieces);
  r.queue.kick();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(await r.frontEnd.stopQueue(0), 0);
  assert.equal(r.queue.take(), null);
  open();
  await r.frontEnd.startQueue(0, r.queue, 0);
  assert.equal((await r.queue.next()).bytes, 4);
  assert.equal(r.queue.ram.bytes.readInt32LE(out), 0);
  // It was carried out the first time, which the second found.
  assert.deepEqual(channel.requests, [SHMEM_MAP, CONFIG_CHANGE]);
  await r.close();
});

test("a queue is stopped while another's worker holds what both want", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  const { channel } = r.frontEnd;
  assert.ok(channel !== null);
  const second = new DriverQueue(r.frontEnd.ram, 8);
  await r.frontEnd.startQueue(1, second);
  let open = (): void => {};
  channel.gate = new Promise((resolve) => {
    open = resolve;
  });
  const one = place(r.queue, operation(OP.MAP, [0, 0, MIB, 1], file), 4);
  const two = place(second, operation(OP.MAP, [0, MIB, MIB, 1], file), 4);
  r.queue.add(one.pieces);
  r.queue.kick();
  await new Promise((resolve) => setTimeout(resolve, 50));
  second.add(two.pieces);
  second.kick();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(await r.frontEnd.stopQueue(1), 0);
  open();
  assert.equal((await r.queue.next()).bytes, 4);
  await r.frontEnd.startQueue(1, second, 0);
  assert.equal((await second.next()).bytes, 4);
  assert.deepEqual([...channel.mapped.keys()].sort(), [0, MIB]);
  await r.close();
  second.close();
});

test("mappings that a reset of the device has dropped can be unmapped and mapped again", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  assert.equal(await map(r, 0, 0, MIB), 0);
  r.frontEnd.channel?.dropAll();
  assert.equal(await unmap(r, 0, MIB), 0);
  assert.equal(await map(r, MIB, 0, MIB), 0);
  assert.equal(r.frontEnd.channel?.read(0, 9).toString(), "page 256.");
  // RESET_DEVICE says it.
  await r.frontEnd.stopQueue(0);
  await r.frontEnd.confirm(34);
  r.frontEnd.channel?.dropAll();
  r.queue.reset();
  await r.frontEnd.startQueue(0, r.queue, 0);
  assert.equal(await map(r, MIB, 0, MIB), 0);
  assert.equal(r.frontEnd.channel?.mapped.size, 1);
  await r.close();
});

test("an answer that is none ends the use of the channel, not the process", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  r.frontEnd.channel?.reply(77, 0);
  assert.equal(await map(r, 0, 0, MIB), -19);
  assert.equal(await map(r, 0, MIB, MIB), -19);
  assert.equal((await r.request(operation(OP.ECHO))).length, 41);
  await r.close();
});

test("whatever a front-end answers, a mapping is made or refused, and requests go on", async () => {
  const random = new Random(5);
  const seen = new Map<number, number>();
  for (let round = 0; round < 25; round++) {
    const r = await rig({ windowBytes: WINDOW_BYTES });
    for (let i = 0; i < 6; i++) {
      for (let answers = random.below(3); answers > 0; answers--)
        r.frontEnd.channel?.reply(random.of([SHMEM_MAP, SHMEM_UNMAP, CONFIG_CHANGE, 0, 77]), random.of([0, 1, -1]));
      const offset = random.below(8) * MIB;
      const result = random.chance(60) ? await map(r, 0, offset, MIB) : await unmap(r, offset, MIB);
      assert.ok([0, -5, -19, -22].includes(result), String(result));
      seen.set(result, (seen.get(result) ?? 0) + 1);
    }
    assert.equal((await r.request(operation(OP.ECHO))).length, 41);
    await r.close();
  }
  for (const result of [0, -19]) assert.ok((seen.get(result) ?? 0) > 0, `never ${result}`);
});

test("a refused mapping leaves its place free", async () => {
  const r = await rig({ windowBytes: WINDOW_BYTES });
  r.frontEnd.channel?.mapped.set(0, { fd: -1, fdOffset: 0, bytes: MIB, writable: false });
  assert.equal(await map(r, 0, 0, MIB), -5);
  r.frontEnd.channel?.mapped.clear();
  assert.equal(await map(r, 0, 0, MIB), 0);
  await r.close();
});

test("a process that takes over the channel from a killed one drops what that had begun", async () => {
  // What was entered and how far it went: not sent; sent, answered and not read; read and not struck out; struck out.
  for (const [pending, answers, isMapped] of [
    [true, [], false],
    [
      true,
      [
        [SHMEM_MAP, 0],
        [CONFIG_CHANGE, 0],
      ],
      true,
    ],
    [true, [], true],
    [
      true,
      [
        [SHMEM_UNMAP, 1],
        [CONFIG_CHANGE, 0],
      ],
      false,
    ],
    [false, [[CONFIG_CHANGE, 0]], true],
    [false, [], true],
  ] as const) {
    const { setChannel } = LocalDataPlane.prototype;
    let stateFd = -1;
    LocalDataPlane.prototype.setChannel = function (channel) {
      stateFd = channel?.stateFd ?? stateFd;
      return setChannel.call(this, channel);
    };
    const r = await rig({ windowBytes: WINDOW_BYTES });
    LocalDataPlane.prototype.setChannel = setChannel;
    const { channel } = r.frontEnd;
    assert.equal(await map(r, 0, 4 * MIB, MIB), 0);
    const state = new WindowState(stateFd);
    const record = state.add({ shmOffset: 0, bytes: MIB, fdOffset: 0, dev: 1, ino: 1, writable: true });
    if (pending) state.addPending(PENDING.MAP, record, 0, MIB);
    for (const [request, value] of answers) channel?.reply(request, value);
    if (isMapped) channel?.mapped.set(0, { fd: openSync(file, "r"), fdOffset: 0, bytes: MIB, writable: true });
    state.setOwner(1);
    assert.equal(await map(r, MIB, 0, MIB), 0);
    assert.equal(channel?.read(0, 9).toString(), "page 256.");
    assert.equal(channel?.read(4 * MIB, 7).toString(), "page 0.");
    assert.equal(await unmap(r, 4 * MIB, MIB), 0);
    assert.equal(await unmap(r, 0, MIB), 0);
    assert.deepEqual([state.owner, state.pending, channel?.mapped.size], [process.pid, 0, 0]);
    state.close();
    await r.close();
  }
});
