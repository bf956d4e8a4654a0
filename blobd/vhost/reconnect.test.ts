import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Inflight, ProtocolFeature, Request } from "../../formats/vhost-user/index.ts";
import { acceptUnix, connectUnix, listenUnix } from "../sys/index.ts";
import { LocalDataPlane } from "./local-data-plane.ts";
import { place, testDevice } from "./testing.ts";
import { FrontEnd } from "./testing-front-end.ts";
import { DriverQueue, GuestRam } from "./testing-guest.ts";
import { OP, operation } from "./testing-operations.ts";
import { VhostBackend } from "./vhost-backend.ts";

const folder = mkdtempSync(join(tmpdir(), "reconnect-"));
after(() => rmSync(folder, { recursive: true }));

/** Connects as soon as somebody listens. */
async function connected(path: string): Promise<number> {
  for (let tries = 0; ; tries++) {
    try {
      return connectUnix(path);
    } catch (error) {
      if (tries === 200) throw error;
      await sleep(20);
    }
  }
}

/** The in-flight region as the front-end keeps it. */
interface Kept {
  readonly payload: Buffer;
  readonly fd: number;
}

async function getInflight(frontEnd: FrontEnd, queueSize: number): Promise<Kept> {
  const ask = Buffer.alloc(24);
  const view = Inflight.view(ask);
  view.numQueues = 1;
  view.queueSize = queueSize;
  frontEnd.send(Request.GET_INFLIGHT_FD, ask);
  const { payload, fds } = await frontEnd.reply();
  return { payload, fd: fds[0] as number };
}

test("a back-end that is killed under load and started again loses no request and repeats none that was completed", async () => {
  const path = join(folder, "killed");
  const start = (): ChildProcess =>
    spawn(process.execPath, [new URL("./testing-backend.js", import.meta.url).pathname, path], { stdio: "inherit" });
  const ram = new GuestRam();
  const queue = new DriverQueue(ram, 64);
  let kept: Kept | null = null;
  const slots = Array.from({ length: 32 }, () => place(queue, operation(OP.ECHO), 41));
  const slotOf = new Map<number, number>();
  const free = slots.map((_, i) => i);
  let sent = 0;
  let received = 0;
  // A request's number must come back by the request that carried it, in any order.
  const numberAt = (slot: number, part: 0 | 1): number => (slots[slot]?.pieces[part]?.address ?? 0) + 36;
  const submit = (): void => {
    let added = 0;
    for (; free.length > 0; added++) {
      const slot = free.pop() as number;
      ram.bytes.writeUInt32LE(++sent, numberAt(slot, 0));
      ram.bytes.writeUInt32LE(0, numberAt(slot, 1));
      slotOf.set(queue.add(slots[slot]?.pieces ?? []), slot);
    }
    if (added > 0) queue.kick(added);
  };
  for (let life = 0; life < 4; life++) {
    const child = start();
    const frontEnd = new FrontEnd(await connected(path), ram);
    await frontEnd.start();
    kept ??= await getInflight(frontEnd, 64);
    await frontEnd.confirm(Request.SET_INFLIGHT_FD, kept.payload, [kept.fd]);
    // What QEMU tells after the loss of a back-end: the used index. The region knows better.
    await frontEnd.startQueue(0, queue, queue.usedIndex);
    const until = received + 3000;
    const endsBy = performance.now() + 20_000;
    while (received < until) {
      submit();
      const { head, bytes } = await queue.next();
      const slot = slotOf.get(head) as number;
      assert.equal(bytes, 41);
      assert.equal(ram.bytes.readUInt32LE(numberAt(slot, 1)), ram.bytes.readUInt32LE(numberAt(slot, 0)));
      free.push(slot);
      received++;
      assert.ok(performance.now() < endsBy);
    }
    submit();
    child.kill("SIGKILL");
    await once(child, "exit");
    // What was completed in the meantime is in the used ring; what was not stays in flight.
    frontEnd.close();
  }
  const child = start();
  const frontEnd = new FrontEnd(await connected(path), ram);
  await frontEnd.start();
  assert.ok(kept !== null);
  await frontEnd.confirm(Request.SET_INFLIGHT_FD, kept.payload, [kept.fd]);
  await frontEnd.startQueue(0, queue, queue.usedIndex);
  while (queue.outstanding > 0) {
    await queue.next();
    received++;
  }
  assert.equal(received, sent);
  frontEnd.close();
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "exit"), [0, null]);
  closeSync(kept.fd);
  queue.close();
  ram.close();
});

test("one front-end after the other is served, with parked requests of the first coming again", async () => {
  const path = join(folder, "again");
  const device = testDevice();
  const log: string[] = [];
  const backend = new VhostBackend(device, new LocalDataPlane(device), { log: (line) => log.push(line) });
  backend.listen(path);
  const ram = new GuestRam();
  const queue = new DriverQueue(ram, 16);
  const first = new FrontEnd(connectUnix(path), ram);
  await first.start();
  const kept = await getInflight(first, 16);
  await first.confirm(Request.SET_INFLIGHT_FD, kept.payload, [kept.fd]);
  await first.startQueue(0, queue, 0);
  const heads = [700, 500].map((ms) => queue.add(place(queue, operation(OP.PARK, [ms]), 41).pieces));
  queue.kick(2);
  const last = queue.add(place(queue, operation(OP.ECHO), 41).pieces);
  queue.kick();
  assert.equal((await queue.next()).head, last);
  first.close();
  const second = new FrontEnd(connectUnix(path), ram);
  await second.start();
  await second.confirm(Request.SET_INFLIGHT_FD, kept.payload, [kept.fd]);
  await second.startQueue(0, queue, queue.usedIndex);
  assert.deepEqual([(await queue.next()).head, (await queue.next()).head].sort(), heads.sort());
  second.close();
  await backend.close();
  assert.deepEqual(
    log.map((line) => line.replace(/^test: /u, "")),
    ["a front-end has connected", "the connection has ended", "a front-end has connected", "the connection has ended"],
  );
  closeSync(kept.fd);
  queue.close();
  ram.close();
});

test("a worker that dies ends the connection, and the next one gets a new worker", async () => {
  const path = join(folder, "dies");
  const device = testDevice();
  const log: string[] = [];
  const backend = new VhostBackend(device, new LocalDataPlane(device), { log: (line) => log.push(line) });
  backend.listen(path);
  const ram = new GuestRam();
  for (let times = 0; times < 2; times++) {
    const frontEnd = new FrontEnd(connectUnix(path), ram);
    await frontEnd.start();
    const queue = new DriverQueue(ram, 16);
    await frontEnd.startQueue(0, queue);
    queue.add(place(queue, operation(OP.ECHO), 41).pieces);
    queue.kick();
    assert.equal((await queue.next()).bytes, 41);
    queue.add(place(queue, operation(OP.DIE), 41).pieces);
    queue.kick();
    await frontEnd.closed();
    frontEnd.close();
    queue.close();
  }
  await backend.close();
  assert.match(log.join("; "), /(the data plane failed: queue 0: the queue's worker has ended.*){2}/u);
  ram.close();
});

test("a socket that a killed process left is replaced, one that is listened on is not", async () => {
  const path = join(folder, "left");
  closeSync(listenUnix(path));
  const device = testDevice();
  const one = new VhostBackend(device, new LocalDataPlane(device));
  one.listen(path);
  const two = new VhostBackend(device, new LocalDataPlane(device));
  assert.throws(() => two.listen(path), { code: "EADDRINUSE" });
  const frontEnd = new FrontEnd(connectUnix(path));
  await frontEnd.start({ without: [ProtocolFeature.REPLY_ACK] });
  await two.close();
  await one.close();
  frontEnd.close();
  frontEnd.ram.close();
});

test("as a client, it waits for a front-end that listens, and for the next one", async () => {
  const path = join(folder, "client");
  const device = testDevice();
  const backend = new VhostBackend(device, new LocalDataPlane(device));
  backend.connect(path);
  await sleep(50);
  const server = listenUnix(path);
  for (let times = 0; times < 2; times++) {
    let fd = -1;
    for (; fd < 0; fd = acceptUnix(server)) await sleep(20);
    const frontEnd = new FrontEnd(fd);
    await frontEnd.start();
    frontEnd.close();
    frontEnd.ram.close();
  }
  await backend.close();
  closeSync(server);
});
