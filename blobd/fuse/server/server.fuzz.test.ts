import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import { NO_REPLY, OPERATIONS, PARKED } from "../index.ts";
import { hostileMessage, MemoryFileSystem, TestClient } from "../testing/index.ts";

const MESSAGES = 60_000;

test("hostile messages: each has a status and a reply within its bounds, nothing is a mistake of ours", () => {
  const random = new Random(20261127);
  const fileSystem = new MemoryFileSystem();
  const client = new TestClient(fileSystem);
  client.init();
  client.request.park = () => ({ unique: 0n, finish: () => {} });
  const reached = new Set<number>();
  for (let i = 0; i < MESSAGES; i++) {
    if (!client.server.session.isStarted) client.init();
    const message = hostileMessage(random, [0, 1, 1, 1, 2, 3, 4, 5, 2 ** 32, 2 ** 53 - 1]);
    const status = client.raw(message.input, message.data, message.limit);
    const what = `message ${i}: ${message.input.toString("hex")} limit ${message.limit}`;
    assert.ok(Number.isInteger(status) && status >= -511 && status <= NO_REPLY, what);
    const { request } = client;
    if (status === 0) {
      assert.ok(request.outputBytes <= message.limit && request.roomBytes <= message.limit, what);
      assert.ok(request.outputBytes === 0 || request.roomBytes === 0, what);
    }
    if (status >= 0) reached.add(request.opcode);
    if (status === PARKED) fileSystem.wake(0);
    if (fileSystem.nodes.size > 2000) fileSystem.clear();
  }
  assert.deepEqual(
    client.log.filter((line) => !/speaks FUSE/.test(line)),
    [],
  );
  const served = [
    "LOOKUP",
    "GETATTR",
    "SETATTR",
    "MKDIR",
    "CREATE",
    "UNLINK",
    "OPEN",
    "READ",
    "WRITE",
    "READDIR",
    "READDIRPLUS",
    "BATCH_FORGET",
    "INIT",
  ];
  const names = [...reached].map((opcode) => OPERATIONS[opcode]?.name);
  for (const name of served) assert.ok(names.includes(name), `${name} was served at least once`);
});
