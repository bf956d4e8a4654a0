import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as fuse from "../../formats/fuse/index.ts";
import { RANGE_BYTES } from "../fuse/index.ts";
import { fill } from "../fuse/testing/index.ts";
import { BlobdVirtiofs, TestGuest } from "./testing-guest.ts";

const { Opcode } = fuse;
const WINDOW_BYTES = 16 << 20;
/** A fraction of a second is usual; the machine may be busy. */
const GOES_ON_WITHIN_MS = 30_000;

/** Where the guest has a file as memory of which the VMM does not tell. */
const IMAGE_AT = 0x20_0000_0000;
const IMAGE_BYTES = 2 << 20;

async function setup(t: TestContext, given: readonly string[], image = false) {
  const dir = mkdtempSync(join(tmpdir(), "virtiofs-"));
  const imagePath = join(dir, "image");
  const options = image ? [...given, "--guest-memory", `0x${IMAGE_AT.toString(16)}=${imagePath}`] : given;
  if (image) writeFileSync(imagePath, Buffer.alloc(IMAGE_BYTES, "constants of a program, "));
  const share = join(dir, "share");
  mkdirSync(share);
  const blobd = await BlobdVirtiofs.start(share, join(dir, "socket"), ["--dax-window", "16M", ...options]);
  const guest = await TestGuest.connect(blobd.socketPath, WINDOW_BYTES);
  t.after(async () => {
    await guest.close();
    await blobd.stop();
    rmSync(dir, { recursive: true });
  });
  await guest.init();
  const lookup = async (name: string, nodeId = 1) => {
    const { error, body } = await guest.call(Opcode.LOOKUP, { nodeId, names: [name] });
    assert.equal(error, 0, `lookup ${name}`);
    return fuse.EntryOut.view(body).nodeid;
  };
  const create = async (name: string) => {
    const args = fill(fuse.CreateIn, { flags: 2, mode: 0o100644 });
    const { error, body } = await guest.call(Opcode.CREATE, { args, names: [name] });
    assert.equal(error, 0, `create ${name}`);
    return { nodeId: fuse.EntryOut.view(body).nodeid, fh: fuse.OpenOut.view(body, fuse.EntryOut.size).fh };
  };
  const map = (nodeId: number, foffset: number, moffset: number) => {
    const args = fill(fuse.SetupmappingIn, { fh: 2n ** 64n - 1n, foffset, len: RANGE_BYTES, flags: 3, moffset });
    return guest.call(Opcode.SETUPMAPPING, { nodeId, args });
  };
  const resize = (nodeId: number, size: number) =>
    guest.call(Opcode.SETATTR, { nodeId, args: fill(fuse.SetattrIn, { valid: fuse.SetattrFlag.SIZE, size }) });
  return { blobd, guest, share, imagePath, lookup, create, map, resize, window: guest.frontEnd.channel!.mapped };
}

/** What the descriptors of a process are open on. */
function descriptors(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // Closed meanwhile.
    }
  });
}

test("a volume over vhost-user: files made, written, read, listed, removed", async (t) => {
  const { guest, share, create, lookup } = await setup(t, []);
  const { nodeId, fh } = await create("file");
  const data = Buffer.alloc(50_000, "some text ");
  const args = fill(fuse.WriteIn, { fh, size: data.length });
  assert.equal((await guest.call(Opcode.WRITE, { nodeId, args, data })).error, 0);
  assert.ok(readFileSync(join(share, "file")).equals(data));
  const read = await guest.call(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { fh, size: 60_000 }), limit: 60_000 });
  assert.ok(read.body.equals(data));
  writeFileSync(join(share, "of the host"), "");
  await lookup("of the host");
  assert.equal((await guest.call(Opcode.LOOKUP, { names: ["absent"] })).error, -2);
  assert.equal((await guest.call(Opcode.UNLINK, { names: ["of the host"] })).error, 0);
  assert.deepEqual(readdirSync(share), ["file"]);
});

test("files are mapped into the window by ranges, as they reach into them, grow and are cut", async (t) => {
  const { guest, share, create, map, resize, window } = await setup(t, ["--dax", "always"]);
  const { nodeId, fh } = await create("file");
  const pages = () => [...window].map(([at, { bytes, fdOffset }]) => [at, fdOffset, bytes / 4096]);
  assert.equal((await map(nodeId, 0, RANGE_BYTES)).error, 0);
  assert.deepEqual(pages(), []);
  const write = (offset: number, text: string) =>
    guest.call(Opcode.WRITE, {
      nodeId,
      args: fill(fuse.WriteIn, { fh, offset, size: text.length }),
      data: Buffer.from(text),
    });
  await write(0, "start");
  assert.deepEqual(pages(), [[RANGE_BYTES, 0, 512]]);
  await write(3 * RANGE_BYTES - 5, "end");
  assert.equal((await map(nodeId, 2 * RANGE_BYTES, 0)).error, 0);
  assert.deepEqual(pages(), [
    [RANGE_BYTES, 0, 512],
    [0, 2 * RANGE_BYTES, 512],
  ]);
  assert.equal(guest.frontEnd.channel!.read(RANGE_BYTES - 5, 3).toString(), "end");
  await resize(nodeId, 10_000);
  assert.deepEqual(pages(), [[RANGE_BYTES, 0, 512]]);
  await resize(nodeId, 0);
  assert.deepEqual(pages(), []);
  await resize(nodeId, 5000);
  assert.equal(pages().length, 1);
  assert.equal(statSync(join(share, "file")).size, 5000);
  // Removed by the guest while mapped: that goes on until the guest gives it up.
  unlinkSync(join(share, "file"));
  await write(6000, "still there");
  assert.equal(guest.frontEnd.channel!.read(RANGE_BYTES + 6000, 5).toString(), "still");
  assert.equal((await guest.call(Opcode.DESTROY, {})).error, 0);
  assert.deepEqual(pages(), []);
});

test("data in the window: what is mapped of one file is written to another, and read into", async (t) => {
  const { guest, share, create, map } = await setup(t, ["--dax", "always"]);
  writeFileSync(join(share, "source"), Buffer.alloc(8192, "source text "));
  const { body } = await guest.call(Opcode.LOOKUP, { names: ["source"] });
  const source = fuse.EntryOut.view(body).nodeid;
  assert.equal((await map(source, 0, 2 * RANGE_BYTES)).error, 0);
  const { nodeId, fh } = await create("copy");
  const inWindow = (at: number, bytes: number) => ({ address: 0x10_0000_0000 + at, bytes });
  const args = fill(fuse.WriteIn, { fh, size: 5000 });
  const written = await guest.call(Opcode.WRITE, { nodeId, args, pieces: [inWindow(2 * RANGE_BYTES + 100, 5000)] });
  assert.equal(written.error, 0);
  const text = readFileSync(join(share, "source"));
  assert.ok(readFileSync(join(share, "copy")).equals(text.subarray(100, 5100)));
});

for (const supervised of [false, true])
  test(`data in memory that the VMM tells of nowhere but is a known file${supervised ? ", also to the process after" : ""}`, async (t) => {
    const options = ["--dax", "always", ...(supervised ? ["--supervised"] : [])];
    const { blobd, guest, share, imagePath, create } = await setup(t, options, true);
    const image = readFileSync(imagePath);
    // The descriptor is what is used, as in QEMU.
    unlinkSync(imagePath);
    const { nodeId, fh } = await create("copy");
    const write = (offset: number, at: number, bytes: number) =>
      guest.call(Opcode.WRITE, {
        nodeId,
        args: fill(fuse.WriteIn, { fh, offset, size: bytes }),
        pieces: [{ address: IMAGE_AT + at, bytes }],
      });
    assert.equal((await write(0, 1000, 70_000)).error, 0);
    if (supervised) process.kill(blobd.children()[0]!, "SIGKILL");
    assert.equal((await write(70_000, IMAGE_BYTES - 500, 500)).error, 0);
    assert.equal((await write(0, IMAGE_BYTES - 500, 501)).error, -14, "beyond its end");
    assert.equal((await write(0, -1, 10)).error, -14, "before its start");
    const expected = Buffer.concat([image.subarray(1000, 71_000), image.subarray(IMAGE_BYTES - 500)]);
    assert.ok(readFileSync(join(share, "copy")).equals(expected));
  });

for (const standby of [true, false])
  test(`a killed process is followed by another one, ${standby ? "kept ready" : "started then"}; nothing is lost`, async (t) => {
    const options = ["--dax", "always", "--supervised", ...(standby ? [] : ["--no-standby"])];
    const { blobd, guest, share, create, map, window } = await setup(t, options);
    const { nodeId, fh } = await create("file");
    await guest.call(Opcode.WRITE, { nodeId, args: fill(fuse.WriteIn, { fh, size: 4 }), data: Buffer.from("live") });
    assert.equal((await map(nodeId, 0, 0)).error, 0);
    const [mapping] = window.values();
    const nameless = await create("nameless");
    const text = fill(fuse.WriteIn, { fh: nameless.fh, size: 8 });
    await guest.call(Opcode.WRITE, { nodeId: nameless.nodeId, args: text, data: Buffer.from("no names") });
    assert.equal((await guest.call(Opcode.UNLINK, { names: ["nameless"] })).error, 0);
    let done = 0;
    let stop = false;
    const pauses: number[] = [];
    /** Makes, writes, reads and removes files, one after the other. */
    const load = async (lane: number) => {
      for (let round = 0; !stop; round++) {
        const began = performance.now();
        const name = `lane ${lane} round ${round}`;
        const made = await create(name);
        const data = Buffer.alloc(20_000, `${name} `);
        const write = fill(fuse.WriteIn, { fh: made.fh, size: data.length });
        assert.equal((await guest.call(Opcode.WRITE, { nodeId: made.nodeId, args: write, data })).error, 0);
        const read = fill(fuse.ReadIn, { fh: made.fh, size: data.length });
        const { error, body } = await guest.call(Opcode.READ, { nodeId: made.nodeId, args: read, limit: data.length });
        assert.equal(error, 0);
        assert.ok(body.equals(data), "read back");
        assert.equal((await guest.call(Opcode.UNLINK, { names: [name] })).error, 0);
        assert.equal(
          (await guest.call(Opcode.RELEASE, { nodeId: made.nodeId, args: fill(fuse.ReleaseIn, { fh: made.fh }) }))
            .error,
          0,
        );
        done++;
        pauses.push(performance.now() - began);
      }
    };
    const lanes = [1, 2, 3, 4].map(load);
    const longest: number[] = [];
    try {
      for (let kill = 0; kill < 3; kill++) {
        await sleep(700);
        const before = done;
        pauses.length = 0;
        const worker = blobd.children()[0]!;
        process.kill(worker, "SIGKILL");
        for (const end = performance.now() + GOES_ON_WITHIN_MS; done <= before + lanes.length; await sleep(20))
          assert.ok(performance.now() < end, `nothing was done after the process had been killed: ${blobd.log}`);
        longest.push(Math.max(...pauses));
      }
    } finally {
      // Nobody may use the guest's memory when it is given back.
      stop = true;
      await Promise.all(lanes);
    }
    t.diagnostic(`rounds ${done}; longest, in ms: ${longest.map((ms) => ms.toFixed(0)).join(", ")}`);
    assert.deepEqual(readdirSync(share), ["file"]);
    // A file that had lost its name before is still there for who has it open, and goes when it is closed.
    const again = fill(fuse.ReadIn, { fh: nameless.fh, size: 100 });
    const { body } = await guest.call(Opcode.READ, { nodeId: nameless.nodeId, args: again, limit: 100 });
    assert.equal(body.toString(), "no names");
    assert.equal(
      (await guest.call(Opcode.WRITE, { nodeId: nameless.nodeId, args: text, data: Buffer.from("NO NAMES") })).error,
      0,
    );
    const held = () => descriptors(blobd.pid).filter((file) => file.endsWith("nameless (deleted)"));
    assert.equal(held().length, 1);
    const closing = fill(fuse.ReleaseIn, { fh: nameless.fh });
    assert.equal((await guest.call(Opcode.RELEASE, { nodeId: nameless.nodeId, args: closing })).error, 0);
    for (const end = performance.now() + 5000; held().length > 0; await sleep(50))
      assert.ok(performance.now() < end, "the supervisor holds what is closed");
    // What was open is open, what was mapped is mapped, and grows.
    assert.equal([...window.values()][0], mapping);
    const more = fill(fuse.WriteIn, { fh, offset: 8192, size: 4 });
    assert.equal((await guest.call(Opcode.WRITE, { nodeId, args: more, data: Buffer.from("grew") })).error, 0);
    assert.equal(guest.frontEnd.channel!.read(8192, 4).toString(), "grew");
  });
