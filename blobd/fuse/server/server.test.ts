import assert from "node:assert/strict";
import { constants } from "node:os";
import { test } from "node:test";
import * as fuse from "../../../formats/fuse/index.ts";
import { SysError } from "../../sys/index.ts";
import { FuseSession, IN_ARGS, NO_REPLY, OPERATIONS, PARKED, SESSION_WORDS } from "../index.ts";
import { fill, MemoryFileSystem, TestClient } from "../testing/index.ts";

const { EINVAL, EIO, ENOENT, ENOSYS, EPROTO, EINTR } = constants.errno;
const { Opcode } = fuse;

function started(fileSystem = new MemoryFileSystem()) {
  const client = new TestClient(fileSystem);
  assert.equal(client.init(), 0);
  return { client, fileSystem };
}

function initArgs(fields: Partial<Record<"major" | "minor" | "flags" | "flags2" | "maxReadahead", number>>) {
  return { args: fill(fuse.InitIn, { major: 7, minor: 45, maxReadahead: 131072, ...fields }) };
}

test("every opcode has an operation of its name", () => {
  for (const [name, opcode] of Object.entries(fuse.Opcode)) assert.equal(OPERATIONS[opcode]?.name, name);
});

test("INIT grants what server and file system do and the kernel offers, nothing else", () => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.flags = fuse.InitFlag.WRITEBACK_CACHE | fuse.InitFlag.POSIX_ACL | fuse.InitFlag.SPLICE_READ;
  fileSystem.flags2 = fuse.InitFlag2.HAS_INODE_DAX | fuse.InitFlag2.OVER_IO_URING | fuse.InitFlag2.SECURITY_CTX;
  const client = new TestClient(fileSystem);
  const offered = ~(fuse.InitFlag.POSIX_ACL | fuse.InitFlag.ASYNC_DIO);
  assert.equal(client.call(Opcode.INIT, initArgs({ flags: offered >>> 0, flags2: 0xffffffff })), 0);
  const reply = fuse.InitOut.view(client.reply);
  assert.deepEqual(
    [reply.major, reply.minor, reply.maxReadahead, reply.maxWrite, reply.maxPages],
    [7, 45, 131072, 1 << 20, 256],
  );
  assert.ok(reply.flags & fuse.InitFlag.WRITEBACK_CACHE && reply.flags & fuse.InitFlag.MAX_PAGES);
  assert.equal(reply.flags & (fuse.InitFlag.POSIX_ACL | fuse.InitFlag.ASYNC_DIO | fuse.InitFlag.SPLICE_READ), 0);
  assert.equal(reply.flags & fuse.InitFlag.MAP_ALIGNMENT, 0);
  assert.equal(reply.flags2, fuse.InitFlag2.SECURITY_CTX);
  assert.deepEqual([client.server.session.flags >>> 0, client.server.session.flags2], [reply.flags, reply.flags2]);
});

test("INIT over a transport with a window maps ranges of 2 MiB", () => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.flags2 = fuse.InitFlag2.HAS_INODE_DAX;
  const client = new TestClient(fileSystem, new Int32Array(SESSION_WORDS), true);
  assert.equal(client.call(Opcode.INIT, initArgs({ flags: 0xffffffff, flags2: 0xffffffff })), 0);
  const reply = fuse.InitOut.view(client.reply);
  assert.ok(reply.flags & fuse.InitFlag.MAP_ALIGNMENT);
  assert.deepEqual([reply.mapAlignment, reply.flags2], [21, fuse.InitFlag2.HAS_INODE_DAX]);
});

test("INIT of other versions: older ones are refused, a newer minor gets ours, a newer major is told ours", () => {
  for (const [major, minor] of [
    [6, 45],
    [7, 35],
  ] as const) {
    const client = new TestClient(new MemoryFileSystem());
    assert.equal(client.call(Opcode.INIT, initArgs({ major, minor })), -EPROTO);
    assert.match(client.log.join(), new RegExp(`speaks FUSE ${major}.${minor}; 7.36`));
    assert.equal(client.call(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) }), -EIO);
  }
  const client = new TestClient(new MemoryFileSystem());
  assert.equal(client.call(Opcode.INIT, initArgs({ major: 8, minor: 1 })), 0);
  assert.deepEqual([fuse.InitOut.view(client.reply).major, client.server.session.isStarted], [7, false]);
  assert.equal(client.call(Opcode.INIT, initArgs({ minor: 36 })), 0);
  assert.equal(client.server.session.minor, 36);
  assert.equal(client.call(Opcode.INIT, initArgs({ minor: 99 })), 0);
  assert.equal(client.server.session.minor, 45);
});

test("nothing is served before INIT nor after DESTROY, and a second INIT ends the mount before it", () => {
  const fileSystem = new MemoryFileSystem();
  const client = new TestClient(fileSystem);
  const getattr = () => client.call(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) });
  assert.equal(getattr(), -EIO);
  client.init();
  assert.equal(getattr(), 0);
  assert.equal(client.call(Opcode.DESTROY, {}), 0);
  assert.deepEqual([getattr(), fileSystem.destroyed], [-EIO, 1]);
  client.init();
  client.init();
  assert.deepEqual([getattr(), fileSystem.destroyed], [0, 2]);
});

test("threads of a mount, and a process that takes over, share the session", () => {
  const words = new Int32Array(new SharedArrayBuffer(SESSION_WORDS * 4));
  const fileSystem = new MemoryFileSystem();
  new TestClient(fileSystem, words).init();
  assert.equal(new TestClient(fileSystem, words).call(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) }), 0);
  assert.equal(new FuseSession(words).minor, 45);
});

test("names come decoded; what is no name of an entry never reaches a handler", () => {
  const { client, fileSystem } = started();
  const mkdir = (name: string | Uint8Array) =>
    client.call(Opcode.MKDIR, { args: fill(fuse.MkdirIn, { mode: 0o755 }), names: [name] });
  assert.equal(mkdir("a"), 0);
  assert.equal(mkdir(Buffer.from([0xff, 0x2c])), 0);
  for (const name of ["", ".", "..", "a/b", "/", "x".repeat(1025)]) assert.equal(mkdir(name), -EINVAL, name);
  assert.equal(mkdir("x".repeat(1024)), 0);
  assert.equal(client.call(Opcode.LOOKUP, { names: [".."] }), -ENOENT);
  assert.equal(client.call(Opcode.LOOKUP, { names: ["a/"] }), -EINVAL);
  assert.deepEqual([...fileSystem.nodes.get(1)!.children!.keys()].slice(0, 2), ["a", "\xff,"]);
});

test("lengths that contradict each other are refused", () => {
  const { client } = started();
  const message = (length: number, edit: (dv: DataView) => void = () => {}) => {
    const bytes = Buffer.alloc(Math.max(length, 64));
    const header = fuse.InHeader.view(bytes);
    Object.assign(header, { len: length, opcode: Opcode.GETATTR, nodeid: 1 });
    edit(new DataView(bytes.buffer, bytes.byteOffset));
    return bytes.subarray(0, length);
  };
  assert.equal(client.raw(message(56)), 0);
  assert.equal(client.raw(message(55)), -EINVAL, "too short for its arguments");
  assert.equal(client.raw(message(57)), -EINVAL, "longer than its arguments");
  assert.equal(client.raw(message(39)), -EINVAL, "too short for a header");
  assert.equal(client.raw(message(0)), -EINVAL);
  assert.equal(client.raw(message(56, (dv) => dv.setUint32(0, 57, true))), -EINVAL, "len");
  assert.equal(client.raw(message(56, (dv) => dv.setUint16(36, 3, true))), -EINVAL, "extensions longer than all");
  assert.equal(client.raw(message(56, (dv) => dv.setUint32(20, 0x200000, true))), -EINVAL, "node ID from 2^53 on");
  assert.equal(client.raw(message(56, (dv) => dv.setUint32(4, 4096, true))), -ENOSYS, "unknown opcode");
  assert.equal(client.raw(message(56), Buffer.alloc(8)), -EINVAL, "data where there is none");
});

test("WRITE and SETXATTR must bring as many bytes as they say", () => {
  const { client } = started();
  client.call(Opcode.MKNOD, { args: fill(fuse.MknodIn, { mode: 0o100644 }), names: ["f"] });
  const nodeId = fuse.EntryOut.view(client.reply).nodeid;
  const write = (size: number, data: Uint8Array) =>
    client.call(Opcode.WRITE, { nodeId, args: fill(fuse.WriteIn, { size, offset: 1 }), data });
  assert.equal(write(5, Buffer.from("hello")), 0);
  assert.equal(client.reply.readUInt32LE(0), 5);
  assert.equal(write(6, Buffer.from("hello")), -EINVAL);
  assert.equal(write(4, Buffer.from("hello")), -EINVAL);
  assert.equal(client.call(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { size: 4 }) }), 0);
  assert.equal(client.reply.toString("latin1"), "\0hel");
  const setxattr = (size: number) =>
    client.call(Opcode.SETXATTR, {
      nodeId,
      args: fill(fuse.SetxattrIn, { size }),
      names: ["user.a"],
      rest: Buffer.from("abc"),
    });
  assert.equal(setxattr(3), -ENOSYS, "well formed, but this file system has none");
});

test("without SETXATTR_EXT the old, shorter arguments are understood", () => {
  let value = "";
  const fileSystem = Object.assign(new MemoryFileSystem(), {
    setxattr(request: import("../index.ts").FuseRequest) {
      value = request.input.bytes.toString("latin1", request.nameAt + request.nameBytes + 1, request.extensionsAt);
      return 0;
    },
  });
  const client = new TestClient(fileSystem);
  client.init(~(fuse.InitFlag.SETXATTR_EXT | fuse.InitFlag.MAP_ALIGNMENT));
  const args = fill(fuse.SetxattrIn, { size: 3 }).subarray(0, fuse.COMPAT_SETXATTR_IN_BYTES);
  assert.equal(client.call(Opcode.SETXATTR, { args, names: ["user.a"], rest: Buffer.from("abc") }), 0);
  assert.equal(value, "abc");
  const long = fill(fuse.SetxattrIn, { size: 2 }).subarray(0, fuse.COMPAT_SETXATTR_IN_BYTES);
  assert.equal(client.call(Opcode.SETXATTR, { args: long, names: ["user.a"], rest: Buffer.from("abc") }), -EINVAL);
});

test("a request whose reply has no room is not begun", () => {
  const { client, fileSystem } = started();
  const mkdir = (limit: number) => client.call(Opcode.MKDIR, { args: fill(fuse.MkdirIn, {}), names: ["d"], limit });
  assert.equal(mkdir(fuse.EntryOut.size - 1), -EINVAL);
  assert.equal(fileSystem.nodes.size, 1);
  assert.equal(mkdir(fuse.EntryOut.size), 0);
});

test("FORGET, BATCH_FORGET and INTERRUPT have no reply, not even when they are malformed", () => {
  const { client, fileSystem } = started();
  assert.equal(client.call(Opcode.FORGET, { nodeId: 7, args: fill(fuse.ForgetIn, { nlookup: 3 }) }), NO_REPLY);
  const two = Buffer.concat([
    fill(fuse.ForgetOne, { nodeid: 8, nlookup: 1 }),
    fill(fuse.ForgetOne, { nodeid: 9, nlookup: 2 }),
  ]);
  assert.equal(client.call(Opcode.BATCH_FORGET, { args: fill(fuse.BatchForgetIn, { count: 2 }), rest: two }), NO_REPLY);
  assert.deepEqual(fileSystem.forgotten, [
    [7, 3],
    [8, 1],
    [9, 2],
  ]);
  for (const count of [3, 0xffffffff])
    assert.equal(client.call(Opcode.BATCH_FORGET, { args: fill(fuse.BatchForgetIn, { count }), rest: two }), NO_REPLY);
  assert.equal(client.call(Opcode.FORGET, {}), NO_REPLY);
  assert.equal(client.call(Opcode.INTERRUPT, {}), NO_REPLY);
  assert.equal(fileSystem.forgotten.length, 3);
});

test("a parked request is answered when it is interrupted", () => {
  const { client } = started();
  client.call(Opcode.MKNOD, { args: fill(fuse.MknodIn, {}), names: ["wait"] });
  const nodeId = fuse.EntryOut.view(client.reply).nodeid;
  const answers: number[] = [];
  client.request.park = () => ({ unique: client.lastUnique, finish: (status) => answers.push(status) });
  assert.equal(client.call(Opcode.OPEN, { nodeId, args: fill(fuse.OpenIn, {}) }), PARKED);
  const unique = client.lastUnique;
  client.call(Opcode.INTERRUPT, { args: fill(fuse.InterruptIn, { unique: unique + 2n }) });
  assert.deepEqual(answers, []);
  client.call(Opcode.INTERRUPT, { args: fill(fuse.InterruptIn, { unique }) });
  assert.deepEqual(answers, [-EINTR]);
});

test("what handlers throw: an error of the system keeps its number, a mistake of ours is EIO and a line in the log", () => {
  const failing = (error: unknown) => {
    const fileSystem = Object.assign(new MemoryFileSystem(), {
      getattr() {
        throw error;
      },
    });
    const client = new TestClient(fileSystem);
    client.init();
    return [client.call(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) }), client.log.length];
  };
  assert.deepEqual(failing(new SysError("fstat", "ESTALE", 116)), [-116, 0]);
  assert.deepEqual(failing(new SysError("odd", "E?", 70000)), [-EIO, 0]);
  assert.deepEqual(failing(new TypeError("oops")), [-EIO, 1]);
  assert.deepEqual(failing("a string"), [-EIO, 1]);
});

test("what handlers answer wrongly is EIO, and the log does not grow without end", () => {
  for (const answer of [3, 1.5, Number.NaN]) {
    const fileSystem = Object.assign(new MemoryFileSystem(), { getattr: () => answer });
    const client = new TestClient(fileSystem);
    client.init();
    for (let i = 0; i < 100; i++)
      assert.equal(client.call(Opcode.GETATTR, { args: fill(fuse.GetattrIn, {}) }), -EIO, String(answer));
    assert.ok(client.log.length > 0 && client.log.length < 30);
  }
});

test("READ gets no more room than it asked for", () => {
  const { client } = started();
  client.call(Opcode.MKNOD, { args: fill(fuse.MknodIn, {}), names: ["f"] });
  const nodeId = fuse.EntryOut.view(client.reply).nodeid;
  client.call(Opcode.WRITE, { nodeId, args: fill(fuse.WriteIn, { size: 10 }), data: Buffer.alloc(10, 1) });
  for (const [size, limit, expected] of [
    [3, 100, 3],
    [100, 4, 4],
    [0, 10, 0],
    [100, 100, 10],
  ] as const) {
    assert.equal(client.call(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { size }), limit }), 0);
    assert.equal(client.request.roomBytes, expected);
  }
  assert.equal(IN_ARGS, 40);
});
