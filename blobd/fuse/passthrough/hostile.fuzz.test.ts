import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import { EntryOut, Opcode } from "../../../formats/fuse/index.ts";
import { NO_REPLY, PARKED, type ParkedReply, SESSION_WORDS } from "../index.ts";
import { hostileMessage, TestClient } from "../testing/index.ts";
import { createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";

// Messages of a hostile guest, straight into the server with a real directory behind it.

const MESSAGES = 80_000;
const root = mkdtempSync(join(tmpdir(), "hostile-"));
after(() => rmSync(root, { recursive: true, force: true }));

/** An export with something to find in it, and a neighbour that must stay as it is. */
function prepare(name: string): { source: string; neighbour: string } {
  const [source, neighbour] = [join(root, name, "export"), join(root, name, "neighbour")];
  mkdirSync(join(source, "d", "b"), { recursive: true });
  mkdirSync(neighbour);
  for (const each of ["a", "b"]) writeFileSync(join(source, each), each.repeat(9000));
  writeFileSync(join(neighbour, "secret"), "secret");
  symlinkSync("../neighbour/secret", join(source, "l"));
  return { source, neighbour };
}

function attack(name: string, config: Partial<PassthroughConfig>, seed: number): Set<number> {
  const { source, neighbour } = prepare(name);
  const whole = { source, maxNodes: 4096, maxFiles: 512, ...config };
  const shared = createPassthroughShared(whole);
  const session = new Int32Array(SESSION_WORDS);
  // Two threads of the mount, one after the other in one thread: they find each other's nodes and files.
  const clients = [0, 1].map(() => new TestClient(openPassthrough(whole, shared), session));
  const parked: ParkedReply[] = [];
  for (const client of clients) client.request.park = () => parkedReply(parked);
  const random = new Random(seed);
  const known = [1, 1, 1, 1, 1, 0, 2 ** 32 + 1, 2 ** 53 - 1];
  const handles = [0, 0, 1, 1, 2, 2, 3, 2 ** 53 - 1];
  const reached = new Set<number>();
  for (let i = 0; i < MESSAGES; i++) {
    const client = random.of(clients);
    if (!client.server.session.isStarted) client.init();
    const message = hostileMessage(random, known, handles);
    // These two make all forgotten: seldom, else little is ever known.
    if ((message.opcode === Opcode.DESTROY || message.opcode === Opcode.INIT) && random.chance(97)) continue;
    // A lock that waits would keep this one thread: it is for the tests of locks.
    if (message.opcode === Opcode.SETLKW) continue;
    const status = client.raw(message.input, message.data, message.limit);
    const what = () => `message ${i}, opcode ${message.opcode}: ${message.input.toString("hex", 0, 200)}`;
    assert.ok(Number.isInteger(status) && status >= -511 && status <= NO_REPLY, what());
    const { request } = client;
    if (status === PARKED) for (const each of parked.splice(0)) each.finish(0);
    if (status !== 0) continue;
    reached.add(request.opcode);
    assert.ok(request.outputBytes <= message.limit && request.roomBytes <= message.limit, what());
    assert.ok(!client.reply.includes("secret"), what());
    learn(client, request.opcode, known, handles);
  }
  for (const client of clients)
    assert.deepEqual(
      client.log.filter((line) => !/speaks FUSE/.test(line)),
      [],
    );
  assert.deepEqual(readdirSync(neighbour), ["secret"]);
  assert.equal(readFileSync(join(neighbour, "secret"), "utf8"), "secret");
  assert.ok(lstatSync(join(neighbour, "secret")).nlink === 1 && existsSync(source));
  clients[0]!.call(Opcode.DESTROY, {});
  return reached;
}

/** Node IDs and handles out of replies, so that what follows means something. The latest few are kept. */
function learn({ reply }: TestClient, opcode: number, nodes: number[], handles: number[]): void {
  const keep = (list: number[], at: number) => {
    const value = reply.length >= at + 8 ? Number(reply.readBigUInt64LE(at)) : 0;
    if (value === 0 || value >= 2 ** 53 || list.includes(value)) return;
    if (list.push(value) > 14) list.splice(8, 1);
  };
  if (MAKE_NODES.has(opcode)) keep(nodes, 0);
  if (opcode === Opcode.OPEN || opcode === Opcode.OPENDIR) keep(handles, 0);
  if (opcode === Opcode.CREATE || opcode === Opcode.TMPFILE) keep(handles, EntryOut.size);
}
const { LOOKUP, MKDIR, MKNOD, CREATE, TMPFILE, LINK, SYMLINK } = Opcode;
const MAKE_NODES: ReadonlySet<number> = new Set([LOOKUP, MKDIR, MKNOD, CREATE, TMPFILE, LINK, SYMLINK]);

function parkedReply(parked: ParkedReply[]): ParkedReply {
  const reply = { unique: 0n, finish: () => {} };
  parked.push(reply);
  return reply;
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

test("hostile messages to a directory: typed outcomes, nothing outside of it, no descriptor left", () => {
  attack("first", {}, 1); // What is loaded once is loaded.
  const before = descriptors();
  const reached = attack("second", {}, 2);
  for (const name of [
    "LOOKUP",
    "GETATTR",
    "SETATTR",
    "READ",
    "WRITE",
    "OPEN",
    "CREATE",
    "MKDIR",
    "RENAME",
    "READDIR",
    "UNLINK",
  ] as const)
    assert.ok(reached.has(Opcode[name]), `${name} succeeded at least once`);
  assert.ok(descriptors() - before <= 8, `${before} descriptors before, ${descriptors()} now`);
});

for (const [name, config] of Object.entries({
  "by descriptors": { inodeFileHandles: "never" },
  "read-only": { readOnly: true, cache: "always" },
  "locks, ACLs, maps": {
    posixLocks: true,
    flock: true,
    posixAcl: true,
    writeback: true,
    uidMap: [{ guest: 0, host: 0, count: 2000 }],
    gidMap: [{ guest: 0, host: 0, count: 2000 }],
  },
} satisfies Record<string, Partial<PassthroughConfig>>))
  test(`hostile messages: ${name}`, () => void attack(name, config, 3));
