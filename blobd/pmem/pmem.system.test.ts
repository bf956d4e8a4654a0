import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatAdd, parsePlaced } from "../../formats/control/index.ts";
import { MAX_PAYLOAD_BYTES, Request } from "../../formats/vhost-user/index.ts";
import { bit } from "../../formats/virtio/index.ts";
import { allocAligned, connectUnix, mapShared, unmapShared, viewMemory } from "../sys/index.ts";
import { FrontEnd, state } from "../vhost/testing-front-end.ts";
import { DriverQueue } from "../vhost/testing-guest.ts";
import { type PmemOptions, PmemServer } from "./index.ts";

// The device with a VMM of our own. Private views take root.

const MIB = 1 << 20;
const PAGE = 4096;
const log = { info: () => {}, warn: () => {} };

async function setup(t: TestContext, options: Partial<PmemOptions> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "pmem-"));
  const at = (name: string) => join(folder, name);
  const contents = [randomBytes(3 * MIB), randomBytes(100), randomBytes(PAGE)];
  contents.forEach((content, i) => {
    writeFileSync(at(`file${i}`), content);
  });
  const files = contents.map((_, i) => ({ path: at(`file${i}`) }));
  const [socketPath, controlPath] = [at("socket"), at("control")];
  const server = await PmemServer.start({
    socketPath,
    controlPath,
    files,
    windowBytes: 12 * MIB,
    writesFiles: false,
    log,
    ...options,
  });
  const guests: { close(): Promise<void> }[] = [];
  t.after(async () => {
    for (const guest of guests) await guest.close();
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const boot = async () => {
    const frontEnd = new FrontEnd(connectUnix(socketPath));
    await frontEnd.start({ windowBytes: server.windowBytes });
    const serving = frontEnd.channel!.serve();
    const queue = new DriverQueue(frontEnd.ram, 64);
    await frontEnd.startQueue(0, queue);
    let isOpen = true;
    const close = async () => {
      if (!isOpen) return;
      isOpen = false;
      frontEnd.close();
      await serving;
      queue.close();
      frontEnd.ram.close();
    };
    guests.push({ close });
    const shows = (offset: number, content: Buffer) =>
      assert.ok(frontEnd.channel!.read(offset, content.length).equals(content), `at ${offset}`);
    /** Sends a request in these bytes, with so much room. @returns what is written there */
    const ask = async (bytes: Uint8Array, room: number) => {
      const { ram } = frontEnd;
      const [from, to] = [ram.allocate(Math.max(bytes.length, 1)), ram.allocate(Math.max(room, 1))];
      ram.bytes.set(bytes, from);
      queue.add([
        ...(bytes.length > 0 ? [{ address: from, bytes: bytes.length }] : []),
        ...(room > 0 ? [{ address: to, bytes: room, writable: true }] : []),
      ]);
      queue.kick();
      const { bytes: written } = await queue.next();
      return Buffer.from(ram.bytes.subarray(to, to + written));
    };
    const mapped = async (count: number) => {
      for (let i = 0; i < 500 && frontEnd.channel!.mapped.size < count; i++) await sleep(10);
      assert.equal(frontEnd.channel!.mapped.size, count);
      // Answered when the last mapping is, behind which the memory table is told: replies are not mixed up then.
      await ask(FLUSH, 4);
    };
    return { frontEnd, queue, close, mapped, shows, ask };
  };
  const add = async (...paths: { path: string; offset?: number }[]) => {
    const socket = connect(controlPath);
    socket.write(formatAdd({ files: paths, isBehind: false }));
    const line = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    socket.destroy();
    return parsePlaced(line);
  };
  return { at, contents, server, boot, add, socketPath };
}

const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const [FLUSH, DONE, REFUSED] = [u32(0), Buffer.from(u32(0)), Buffer.from(u32(1))];

test("files lie in the window on 2 MiB, zeros behind the end of one; flush is answered, what is no request refused", async (t) => {
  const { boot, contents } = await setup(t);
  const { frontEnd, mapped, shows, ask } = await boot();
  assert.notEqual(frontEnd.features & bit(0), 0n, "VIRTIO_PMEM_F_SHMEM_REGION");
  await mapped(3);
  shows(0, contents[0]!);
  shows(4 * MIB, Buffer.concat([contents[1]!, Buffer.alloc(PAGE - 100)]));
  shows(6 * MIB, contents[2]!);
  assert.deepEqual(await ask(FLUSH, 4), DONE);
  assert.deepEqual(await ask(u32(7), 4), REFUSED);
  assert.deepEqual(await ask(FLUSH.subarray(0, 3), 4), REFUSED);
  assert.deepEqual(await ask(new Uint8Array(0), 4), REFUSED);
  assert.deepEqual(await ask(FLUSH, 3), Buffer.alloc(0));
  assert.deepEqual(await ask(FLUSH, 0), Buffer.alloc(0));
  assert.deepEqual(await ask(new Uint8Array(5000), 5000), DONE);
});

test("files are added while a guest runs, and before; what does not fit is refused by name", async (t) => {
  const { boot, add, at, contents } = await setup(t);
  const early = await add({ path: at("file1"), offset: 8 * MIB });
  assert.deepEqual(early, [{ path: at("file1"), offset: 8 * MIB, bytes: PAGE, isMapped: false }]);
  const { mapped, shows } = await boot();
  await mapped(4);
  const late = await add({ path: at("file2") });
  assert.deepEqual(late, [{ path: at("file2"), offset: 10 * MIB, bytes: PAGE, isMapped: true }]);
  await mapped(5);
  shows(8 * MIB, contents[1]!);
  shows(10 * MIB, contents[2]!);
  const refused = async (...files: Parameters<typeof add>) => ((await add(...files)) as { error: string }).error;
  assert.match(
    await refused({ path: at("file0") }),
    /do not fit into a window of 12582912: start with a larger --window/,
  );
  assert.match(await refused({ path: at("file2"), offset: MIB }), /there is another file already/);
  assert.match(await refused({ path: at("file2"), offset: 11 * MIB + 1 }), /no multiple of 4096/);
  assert.match(await refused({ path: at("none") }), /ENOENT/);
  assert.match(await refused({ path: at(".") }), /is no file/);
  execFileSync("mkfifo", [at("fifo")]);
  assert.match(await refused({ path: at("fifo") }), /fifo: is no file/);
  await mapped(5);
});

test("two clients that add several files at the same time get places of their own", async (t) => {
  const { server, at } = await setup(t, { windowBytes: 24 * MIB });
  const files = [
    { path: at("file1"), offset: 0 },
    { path: at("file2"), offset: 2 * MIB },
  ];
  const [one, other] = await Promise.all([1, 2].map(() => server.add({ files, isBehind: true })));
  const offsets = (placed: readonly { offset: number }[]) => placed.map(({ offset }) => offset / MIB);
  assert.deepEqual(
    [offsets(one!), offsets(other!)],
    [
      [8, 10],
      [12, 14],
    ],
  );
});

test("after a reset everything is there again, and after a stop it still is", async (t) => {
  const { boot, contents } = await setup(t);
  const { frontEnd, queue, mapped, shows, ask } = await boot();
  await mapped(3);
  const restart = async (base: number) => {
    frontEnd.send(Request.SET_VRING_ENABLE, state(0, 0));
    await frontEnd.startQueue(0, queue, base);
  };
  assert.deepEqual(await ask(FLUSH, 4), DONE);
  // A stopped guest that goes on: the VMM refuses what it has.
  await restart(await frontEnd.stopQueue(0));
  assert.deepEqual(await ask(FLUSH, 4), DONE);
  await mapped(3);
  // A reset that is not told.
  const base = await frontEnd.stopQueue(0);
  frontEnd.channel!.dropAll();
  await restart(base);
  await mapped(3);
  shows(6 * MIB, contents[2]!);
  // One that is.
  const last = await frontEnd.stopQueue(0);
  frontEnd.channel!.dropAll();
  await frontEnd.confirm(Request.RESET_DEVICE);
  await restart(last);
  await mapped(3);
  shows(0, contents[0]!);
});

test("what a guest writes stays in its view; a file that it may write has it", async (t) => {
  for (const writesFiles of [false, true]) {
    const { boot, at, contents } = await setup(t, { writesFiles });
    const guest = await boot();
    await guest.mapped(3);
    // As the VMM does with what it is given.
    const { fd } = guest.frontEnd.channel!.mapped.get(0)!;
    const address = mapShared(fd, 0, MIB);
    const memory = Buffer.from(viewMemory(address, MIB));
    assert.ok(memory.equals(contents[0]!.subarray(0, MIB)));
    memory.write("written by the guest", 5000);
    assert.equal(readFileSync(at("file0")).equals(contents[0]!), !writesFiles);
    fsyncQuietly(fd);
    assert.equal(memory.toString("latin1", 5000, 5020), "written by the guest");
    assert.equal(readFileSync(at("file0")).equals(contents[0]!), !writesFiles, "written back");
    unmapShared(address, MIB);
    if (!writesFiles) assert.throws(() => writeSync(fd, "text", 0), { code: "EROFS" });
  }
});

/** Writing back is refused for a view. */
function fsyncQuietly(fd: number): void {
  try {
    fsyncSync(fd);
  } catch {
    // Told for a view.
  }
}

test("what breaks the protocol loses its connection, and the next front-end is served", async (t) => {
  const { boot, socketPath } = await setup(t);
  const junk = allocAligned(MAX_PAYLOAD_BYTES);
  for (let round = 0; round < 20; round++) {
    const frontEnd = new FrontEnd(connectUnix(socketPath));
    randomBytes(64).copy(junk.bytes);
    if (round % 2 === 0) await frontEnd.start({ windowBytes: 0 });
    frontEnd.sendRaw(junk.address, 64);
    await frontEnd.closed();
    frontEnd.close();
    frontEnd.ram.close();
  }
  await (await boot()).mapped(3);
});

test("a file that cannot be served is told before anything is", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "pmem-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "file");
  closeSync(openSync(path, "w"));
  const options = { socketPath: join(folder, "socket"), writesFiles: true, log };
  await assert.rejects(PmemServer.start({ ...options, files: [{ path }] }), /an empty one|window: found 0 bytes/);
  writeFileSync(path, "text");
  const refuse = () => "it must not be";
  await assert.rejects(PmemServer.start({ ...options, files: [{ path }], refuse }), /it must not be/);
  await assert.rejects(PmemServer.start({ ...options, files: [{ path, offset: 2 ** 40 }] }), /window: found/);
});
