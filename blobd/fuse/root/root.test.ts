import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import { writeErofs } from "../../../formats/erofs/writer/index.ts";
import * as fuse from "../../../formats/fuse/index.ts";
import { Inode, S_IFDIR, S_IFREG } from "../../../formats/tree/index.ts";
import { SESSION_WORDS } from "../index.ts";
import { fill, hostileMessage, TestClient } from "../testing/index.ts";
import { openRoot, RootMounts } from "./index.ts";

const { Opcode } = fuse;
const [ENOENT, EROFS, ESTALE, EXDEV, EISDIR] = [-2, -30, -116, -18, -21];
const work = mkdtempSync(join(tmpdir(), "fuse-root-"));
after(() => rmSync(work, { recursive: true }));

/** An image with one file `a`, and a directory `d` in which there is `b`. */
function image(content: string): string {
  const root = new Inode(S_IFDIR | 0o755);
  const d = new Inode(S_IFDIR | 0o755);
  const inlineData = Buffer.from(content);
  const file = () => Object.assign(new Inode(S_IFREG | 0o644), { size: inlineData.length, inlineData });
  root.children!.set("a", file()).set("d", d);
  d.children!.set("b", file());
  const path = join(work, `image-${content}`);
  writeFileSync(path, writeErofs({ root, blobs: [] }, { layout: "devices" }).meta);
  return path;
}
const imageConfig = (content: string) => ({ kind: "image" as const, metaPath: image(content), devicePaths: [] });

function folder(name: string): string {
  const path = join(work, name);
  mkdirSync(path);
  writeFileSync(join(path, "file"), name);
  return path;
}

function setup(mounts: RootMounts, threads = 1) {
  const session = new Int32Array(SESSION_WORDS);
  const clients = Array.from({ length: threads }, () => new TestClient(openRoot(mounts.memory), session));
  assert.equal(clients[0]!.init(), 0);
  const lookup = (nodeId: number, name: string, client = clients[0]!): number => {
    const status = client.call(Opcode.LOOKUP, { nodeId, names: [name] });
    return status === 0 ? fuse.EntryOut.view(client.reply).nodeid : status;
  };
  const walk = (path: string, client = clients[0]!) =>
    path
      .split("/")
      .filter(Boolean)
      .reduce((id, name) => (id > 0 ? lookup(id, name, client) : id), 1);
  const read = (nodeId: number, client = clients[0]!, fh = 0) => {
    const status = client.call(Opcode.READ, { nodeId, args: fill(fuse.ReadIn, { fh, size: 100 }) });
    return status === 0 ? client.reply.toString() : status;
  };
  return { clients, client: clients[0]!, lookup, walk, read };
}

function names(client: TestClient, nodeId: number, opcode: number = Opcode.READDIR): string[] {
  assert.equal(client.call(opcode, { nodeId, args: fill(fuse.ReadIn, { size: 65536 }) }), 0);
  const { reply } = client;
  const found: string[] = [];
  for (let at = 0; at < reply.length; ) {
    if (opcode === Opcode.READDIRPLUS) at += fuse.EntryOut.size;
    const length = reply.readUInt32LE(at + 16);
    found.push(reply.toString("latin1", at + 24, at + 24 + length));
    at += fuse.direntBytes(length);
  }
  return found.sort();
}

test("images and directories side by side: each node leads to its own", () => {
  const directory = folder("directory");
  const mounts = new RootMounts({
    kind: "root",
    mounts: [
      { path: "/rafs/one/lowerdir", config: imageConfig("one") },
      { path: "/rafs/two/lowerdir", config: imageConfig("two") },
      { path: "/containers", config: { source: directory } },
    ],
  });
  const { client, walk, read, lookup } = setup(mounts);
  assert.deepEqual(names(client, 1), ["containers", "rafs"]);
  assert.deepEqual(names(client, walk("/rafs"), Opcode.READDIRPLUS), ["one", "two"]);
  assert.deepEqual(names(client, walk("/rafs/one/lowerdir")), [".", "..", "a", "d"]);
  assert.deepEqual(names(client, walk("/rafs/two/lowerdir"), Opcode.READDIRPLUS), [".", "..", "a", "d"]);
  assert.equal(read(walk("/rafs/one/lowerdir/a")), "one");
  assert.equal(read(walk("/rafs/two/lowerdir/d/b")), "two");
  assert.equal(lookup(walk("/rafs/one"), ".."), walk("/rafs"));
  assert.equal(lookup(1, "absent"), ENOENT);
  assert.equal(walk("/rafs/one/lowerdir/absent"), 0, "absent for ever");
  // What the directory has is opened; what the image has not, need not be.
  const file = walk("/containers/file");
  assert.equal(client.call(Opcode.OPEN, { nodeId: file, args: fill(fuse.OpenIn, {}) }), 0);
  assert.equal(read(file, client, fuse.OpenOut.view(client.reply).fh), "directory");
  assert.equal(client.call(Opcode.OPEN, { nodeId: walk("/rafs/one/lowerdir/a"), args: fill(fuse.OpenIn, {}) }), 0);
  assert.equal(client.call(Opcode.FSYNC, { nodeId: walk("/rafs/one/lowerdir/a"), args: fill(fuse.FsyncIn, {}) }), 0);
  // Changes, where they may be made.
  const mkdir = (nodeId: number) => client.call(Opcode.MKDIR, { nodeId, args: fill(fuse.MkdirIn, {}), names: ["new"] });
  assert.equal(mkdir(1), EROFS);
  assert.equal(mkdir(walk("/rafs/one/lowerdir")), EROFS);
  assert.equal(mkdir(walk("/containers")), 0);
  assert.deepEqual(readdirSync(directory).sort(), ["file", "new"]);
  const rename = (nodeId: number, newdir: number) =>
    client.call(Opcode.RENAME, { nodeId, args: fill(fuse.RenameIn, { newdir }), names: ["file", "moved"] });
  assert.equal(rename(walk("/containers"), walk("/rafs/one/lowerdir")), EXDEV);
  assert.equal(rename(walk("/containers"), walk("/containers/new")), 0);
  assert.equal(readFileSync(join(directory, "new/moved"), "utf8"), "directory");
  assert.equal(read(1), EISDIR);
  assert.deepEqual(client.log, []);
  mounts.close();
});

test("inode numbers of mounts differ, by submounts or without", () => {
  const mounts = new RootMounts({
    kind: "root",
    mounts: ["one", "two"].map((name) => ({ path: `/${name}`, config: imageConfig(name) })),
  });
  for (const flags of [~0, ~fuse.InitFlag.SUBMOUNTS]) {
    const { client, walk } = setup(mounts);
    client.init(flags & ~fuse.InitFlag.MAP_ALIGNMENT);
    const [one, two] = ["one", "two"].map((name) => {
      assert.ok(walk(`/${name}`) > 0);
      const { attr } = fuse.EntryOut.view(client.reply);
      const isSubmount = (fuse.Attr.view(attr).flags & fuse.AttrFlag.SUBMOUNT) !== 0;
      assert.equal(isSubmount, flags === ~0);
      walk(`/${name}/a`);
      const ino = client.reply.readBigUInt64LE(fuse.EntryOut.at.attr);
      client.call(Opcode.GETATTR, { nodeId: walk(`/${name}/a`), args: fill(fuse.GetattrIn, {}) });
      assert.equal(client.reply.readBigUInt64LE(fuse.AttrOut.at.attr), ino);
      return ino;
    });
    assert.equal(one === two, flags === ~0);
  }
  mounts.close();
});

test("mounts come and go while several threads serve; a place is not used again as long as its nodes are known", async () => {
  const mounts = new RootMounts({ kind: "root", mounts: [] });
  const { clients, walk, read, client } = setup(mounts, 2);
  const [first, second] = clients as [TestClient, TestClient];
  assert.deepEqual(names(client, 1), []);
  mounts.add({ path: "/x/y", config: imageConfig("one") });
  const a = walk("/x/y/a", first);
  assert.equal(read(a, second), "one");
  assert.throws(() => mounts.add({ path: "/x", config: imageConfig("one") }), /there is one at \/x\/y/);
  assert.throws(() => mounts.add({ path: "/x/y/z", config: imageConfig("one") }), /there is one at/);
  assert.throws(() => mounts.add({ path: "/x/../z", config: imageConfig("one") }), /expected \/a\/path/);
  assert.throws(() => mounts.add({ path: "/z", config: { source: work, writeback: true } }), /cannot be had/);
  const lazy = { ...imageConfig("one"), lazyStore: work };
  assert.throws(() => mounts.add({ path: "/z", config: lazy }), /lazyStore cannot be had/);
  assert.throws(() => mounts.add({ path: "/z", config: { ...imageConfig("one"), metaPath: "/dev/null" } }));
  await mounts.remove("/x/y");
  for (const each of clients) assert.equal(read(a, each), ESTALE);
  assert.deepEqual(names(client, 1), []);
  mounts.add({ path: "/x/y", config: imageConfig("two") });
  const again = walk("/x/y/a", second);
  assert.notEqual(again, a);
  assert.equal(read(again, first), "two");
  assert.equal(read(a, first), ESTALE, "never what another mount has");
  await mounts.remove("/x/y");
  await assert.rejects(mounts.remove("/x/y"), /there is none/);
  assert.deepEqual(mounts.list(), []);
  assert.deepEqual(client.log, []);
});

test("what the guest has forgotten makes room: mounts come and go without end, and leave no descriptor", async () => {
  const mounts = new RootMounts({ kind: "root", mounts: [] });
  const { client, walk, read } = setup(mounts);
  const descriptors = () => readdirSync("/proc/self/fd").length;
  const before = descriptors();
  for (let round = 0; round < 600; round++) {
    const config = imageConfig(round % 2 === 0 ? "one" : "two");
    mounts.add({ path: "/m", config });
    const [root, file] = [walk("/m"), walk("/m/a")];
    assert.equal(read(file), round % 2 === 0 ? "one" : "two");
    await mounts.remove("/m");
    for (const [nodeid, nlookup] of [
      [root, 2],
      [file, 1],
    ] as const)
      client.call(Opcode.FORGET, { nodeId: nodeid, args: fill(fuse.ForgetIn, { nlookup }) });
  }
  assert.ok(descriptors() <= before + 2, `${before} descriptors before, ${descriptors()} now`);
  mounts.close();
});

test("hostile messages to a root with mounts", () => {
  const directory = folder("hostile");
  for (const name of ["a", "b"]) writeFileSync(join(directory, name), name);
  const mounts = new RootMounts({
    kind: "root",
    mounts: [
      { path: "/a", config: imageConfig("one") },
      { path: "/b", config: { source: directory } },
      { path: "/d/a", config: { kind: "blobs", files: [{ name: "a", path: image("two") }] } },
    ],
  });
  const { client } = setup(mounts);
  const random = new Random(5);
  const nodes = [
    1,
    1,
    1,
    0,
    2 ** 43 + 1,
    2 ** 44 + 1,
    3 * 2 ** 43 + 1,
    3 * 2 ** 43 + 2,
    255 * 2 ** 43 + 1,
    2 ** 53 - 1,
  ];
  const reached = new Set<number>();
  for (let i = 0; i < 40_000; i++) {
    const message = hostileMessage(random, nodes, [0, 1, 2, 2 ** 43 + 1]);
    if ((message.opcode === Opcode.DESTROY || message.opcode === Opcode.INIT) && random.chance(97)) continue;
    if (!client.server.session.isStarted) client.init();
    const status = client.raw(message.input, message.data, message.limit);
    assert.ok(Number.isInteger(status) && status >= -511 && status <= 2);
    if (status !== 0) continue;
    reached.add(client.request.opcode);
    if (client.request.opcode !== Opcode.LOOKUP) continue;
    const found = fuse.EntryOut.view(client.reply).nodeid;
    if (found !== 0 && !nodes.includes(found) && nodes.push(found) > 20) nodes.splice(10, 1);
  }
  for (const name of ["LOOKUP", "GETATTR", "READ", "READDIR", "READDIRPLUS", "OPEN"] as const)
    assert.ok(reached.has(Opcode[name]), name);
  assert.deepEqual(
    client.log.filter((line) => !/speaks FUSE/.test(line)),
    [],
  );
  mounts.close();
});
