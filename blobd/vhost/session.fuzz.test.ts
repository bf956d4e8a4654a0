import assert from "node:assert/strict";
import { closeSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Random } from "../../formats/bytes/testing.ts";
import { Header, Request, VringAddr } from "../../formats/vhost-user/index.ts";
import { allocAligned, connectUnix, eventFd, memfd, socketPair } from "../sys/index.ts";
import { LocalDataPlane } from "./local-data-plane.ts";
import { place, testDevice, WINDOW_BYTES } from "./testing.ts";
import { FrontEnd, memoryTable, state, u64 } from "./testing-front-end.ts";
import { DriverQueue, GuestRam, USER_BASE } from "./testing-guest.ts";
import { OP, operation } from "./testing-operations.ts";
import { VhostBackend } from "./vhost-backend.ts";

const SESSIONS = 400;
const MESSAGES = 25;

test("whatever a front-end says, the next one is served, and no descriptor is left over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "session-fuzz-"));
  const path = join(folder, "socket");
  const device = testDevice(WINDOW_BYTES);
  const log: string[] = [];
  const backend = new VhostBackend(device, new LocalDataPlane(device), {
    log: (line) => log.push(line),
    memorySlots: 16,
  });
  backend.listen(path);
  const random = new Random(7);
  const ram = new GuestRam();
  const queue = new DriverQueue(ram, 16);
  const file = memfd("fuzz", 1 << 20);
  const events = [eventFd(), eventFd()];
  const scratch = allocAligned(8192);
  const slot = place(queue, operation(OP.ECHO), 41);

  /** A valid session, which must work whatever there was before. */
  async function wellBehaved(): Promise<void> {
    const frontEnd = new FrontEnd(connectUnix(path), ram);
    await frontEnd.start();
    queue.reset();
    await frontEnd.startQueue(0, queue);
    queue.add(slot.pieces);
    queue.kick();
    assert.equal((await queue.next()).bytes, 41);
    frontEnd.close();
  }

  /** A message that makes sense. */
  function sensible(): { request: number; payload: Uint8Array; fds: number[] } {
    const index = random.below(5);
    const make = (request: number, payload: Uint8Array = new Uint8Array(0), fds: number[] = []) => ({
      request,
      payload,
      fds,
    });
    const addresses = (): Uint8Array => {
      const payload = new Uint8Array(VringAddr.size);
      const view = VringAddr.view(payload);
      view.index = index;
      view.descriptor = USER_BASE + queue.desc;
      view.available = USER_BASE + queue.avail;
      view.used = USER_BASE + queue.used;
      return payload;
    };
    const regions = random.of([ram.regions, ram.regions.slice(0, 1), ram.regions.slice(1)]);
    const single = new Uint8Array(40);
    single.set(memoryTable(ram.regions.slice(1)).subarray(8), 8);
    const inflight = new Uint8Array(24);
    new DataView(inflight.buffer).setUint32(16, random.of([1, 4]) | (random.of([8, 16]) << 16), true);
    return random.of([
      () => make(Request.GET_FEATURES),
      () => make(Request.SET_OWNER),
      () => make(Request.RESET_DEVICE),
      () => make(Request.GET_SHMEM_CONFIG),
      () => make(Request.GET_QUEUE_NUM),
      () =>
        make(
          Request.SET_MEM_TABLE,
          memoryTable(regions),
          regions.map(() => ram.fd),
        ),
      () => make(Request.ADD_MEM_REG, single, [ram.fd]),
      () => make(Request.REM_MEM_REG, single),
      () => make(Request.SET_VRING_NUM, state(index, random.of([8, 16, 1024]))),
      () => make(Request.SET_VRING_ADDR, addresses()),
      () => make(Request.SET_VRING_BASE, state(index, random.below(70_000))),
      () => make(Request.GET_VRING_BASE, state(index, 0)),
      () => make(Request.SET_VRING_KICK, u64(BigInt(index)), [random.of([queue.kickFd, ...events])]),
      () => make(Request.SET_VRING_CALL, u64(BigInt(index)), [random.of([queue.callFd, ...events])]),
      () => make(Request.SET_VRING_ERR, u64(BigInt(index)), events.slice(1)),
      () => make(Request.SET_VRING_ENABLE, state(index, random.below(3))),
      () => make(Request.GET_CONFIG, new Uint8Array(12)),
      () => make(Request.GET_INFLIGHT_FD, inflight),
      () => make(Request.SET_INFLIGHT_FD, inflight, [file]),
    ])();
  }

  /** Sends one, damaged or not. */
  function send(frontEnd: FrontEnd): void {
    const { request, payload, fds } = sensible();
    const { bytes, address } = scratch;
    const header = Header.view(bytes);
    header.request = request;
    header.flags = random.of([1, 9]);
    header.size = payload.length;
    bytes.set(payload, Header.size);
    let length = Header.size + payload.length;
    if (random.chance(25)) bytes[random.below(length)] = random.below(256);
    if (random.chance(5)) length = random.below(length) + 1;
    const sentFds = random.chance(90) ? fds : random.of([[], [file], [file, ...fds], Array<number>(20).fill(file)]);
    frontEnd.sendRaw(address, length, sentFds);
    if (random.chance(20)) {
      queue.makeAvailable(random.below(20));
      queue.kick();
    }
  }

  await wellBehaved();
  const before = readdirSync("/proc/self/fd").length;
  let ended = 0;
  for (let session = 0; session < SESSIONS; session++) {
    const frontEnd = new FrontEnd(connectUnix(path), ram);
    try {
      await frontEnd.start();
      queue.reset();
      if (random.chance(50)) await frontEnd.startQueue(random.below(4), queue);
      for (let i = 0; i < MESSAGES; i++) send(frontEnd);
    } catch (error) {
      // The back-end has ended it.
      assert.match((error as Error).message, /gone|closed|refused/);
      ended++;
    }
    if (random.chance(10)) await frontEnd.closed(50).catch(() => {});
    frontEnd.close();
    if (session % 20 === 0) await wellBehaved();
  }
  await wellBehaved();
  await new Promise((resolve) => setTimeout(resolve, 50));
  // Four workers may have been started meanwhile, of a few descriptors each; a leak would be hundreds.
  const left = readdirSync("/proc/self/fd").length - before;
  assert.ok(left < 40, `${left} more descriptors than before`);
  const reasons = new Set(log.filter((line) => line.includes("was ended:")).map((line) => line.replace(/\d+/gu, "N")));
  assert.ok(reasons.size > 20, `${reasons.size} different reasons, ${ended} sessions ended while they talked`);
  await backend.close();
  for (const fd of [file, ...events]) closeSync(fd);
  queue.close();
  ram.close();
  rmSync(folder, { recursive: true });
});

test("a connection that is closed in the middle of anything leaves the back-end as it was", async () => {
  const device = testDevice();
  const plane = new LocalDataPlane(device);
  const backend = new VhostBackend(device, plane);
  for (let length = 0; length <= 12; length++) {
    const [ours, theirs] = socketPair();
    backend.adopt(theirs);
    const frontEnd = new FrontEnd(ours);
    const scratch = allocAligned(16);
    scratch.bytes.fill(0, 0, 16);
    scratch.bytes[0] = Request.SET_FEATURES;
    scratch.bytes[4] = 1;
    scratch.bytes[8] = 8;
    if (length > 0) frontEnd.sendRaw(scratch.address, length);
    frontEnd.close();
    frontEnd.ram.close();
    await backend.ended;
  }
  await backend.close();
});
