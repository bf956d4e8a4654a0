import assert from "node:assert/strict";
import {
  closeSync,
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
import { Opcode } from "../../../formats/fuse/index.ts";
import { type DaxWindow, NO_REPLY, OPERATIONS, RANGE_BYTES } from "../index.ts";
import { hostileMessage, TestClient } from "../testing/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";

const MESSAGES = 40_000;
const work = mkdtempSync(join(tmpdir(), "passthrough-fuzz-"));
after(() => rmSync(work, { recursive: true }));
writeFileSync(join(work, "secret"), "SECRET");

/** A window that takes what it is given, and checks that it is of the window's size. */
class CheckingWindow implements DaxWindow {
  readonly bytes = 8 * RANGE_BYTES;
  readonly #close: (fd: number) => void;
  constructor(close: (fd: number) => void) {
    this.#close = close;
  }
  map(_nodeId: number, fd: number, fileOffset: number, windowOffset: number): number {
    this.#close(fd);
    assert.ok(fd >= 0 && fileOffset % RANGE_BYTES === 0 && windowOffset + RANGE_BYTES <= this.bytes);
    return 0;
  }
  mapPieces(): number {
    assert.fail("a directory's files lie in one piece");
  }
  remove(offset: number, bytes: number): number {
    assert.ok(offset >= 0 && offset + bytes <= this.bytes);
    return 0;
  }
  grow(): number {
    return 0;
  }
  shrink(): number {
    return 0;
  }
  removeAll(): void {}
}

const VARIANTS: readonly [name: string, options: Partial<PassthroughConfig>, seed: number][] = [
  ["handles, all options", { posixLocks: true, flock: true, posixAcl: true, writeback: true, dax: "always" }, 1],
  [
    "descriptors, mapped IDs",
    { inodeFileHandles: "never", uidMap: [{ guest: 0, host: 0, count: 2000 }], submounts: false },
    2,
  ],
  ["read-only, without opening", { readOnly: true, cache: "always", noOpen: true }, 3],
  ["attributes by rules", { xattrMap: ":map::user.guest.:", cache: "never", directIo: true }, 4],
];

for (const [name, options, seed] of VARIANTS)
  test(`hostile messages: ${name}`, () => {
    const random = new Random(seed);
    const source = join(work, `export${seed}`);
    mkdirSync(join(source, "d/b"), { recursive: true });
    writeFileSync(join(source, "a"), "content");
    symlinkSync("../secret", join(source, "b"));
    const config = { source, ...options };
    const shared = createPassthroughShared(config);
    const fs = openPassthrough(config, shared, options.dax ? new CheckingWindow(closeSync) : undefined);
    const client = new TestClient(fs, undefined, options.dax !== undefined);
    client.init();
    client.request.park = () => ({ unique: 0n, finish: () => {} });
    const served = new Map<string, number>();
    const ids = [0, 1, 1, 1, 2, 3, 4, 5, 6, 2 ** 32 + 1, 2 ** 32 + 2, 2 ** 53 - 1];
    for (let i = 0; i < MESSAGES; i++) {
      if (!client.server.session.isStarted) client.init();
      const message = hostileMessage(random, ids);
      // It would forget all that the others are about.
      if (message.opcode === Opcode.DESTROY && random.chance(97)) continue;
      const status = client.raw(message.input, message.data, message.limit);
      const { request } = client;
      const what = `message ${i}, ${OPERATIONS[request.opcode]?.name}: ${status}, limit ${message.limit}, ${message.input.toString("hex")}`;
      assert.ok(Number.isInteger(status) && status >= -511 && status <= NO_REPLY, what);
      if (status === 0) {
        assert.ok(request.outputBytes <= message.limit && request.roomBytes <= message.limit, what);
        assert.ok(!client.reply.includes("SECRET"), what);
        const operation = OPERATIONS[request.opcode]!.name;
        served.set(operation, (served.get(operation) ?? 0) + 1);
        // What was found is what the next ones are about.
        if (["LOOKUP", "CREATE", "MKDIR"].includes(operation))
          ids[5 + random.below(4)] = Number(client.reply.readBigUInt64LE(0));
        if (operation === "OPEN" || operation === "OPENDIR")
          ids[5 + random.below(4)] = Number(client.reply.readBigUInt64LE(0));
        if (operation === "CREATE" || operation === "TMPFILE")
          ids[5 + random.below(4)] = Number(client.reply.readBigUInt64LE(128));
      }
      fs.resume?.();
    }
    assert.deepEqual(
      client.log.filter((line) => !/speaks FUSE/.test(line)),
      [],
    );
    for (const operation of ["LOOKUP", "GETATTR", options.noOpen ? "READDIR" : "OPENDIR", "STATFS"])
      assert.ok((served.get(operation) ?? 0) > 0, `${operation}: ${JSON.stringify([...served])}`);
    assert.equal(readFileSync(join(work, "secret"), "utf8"), "SECRET");
    assert.ok(readdirSync(work).every((entry) => /^(secret|export\d)$/.test(entry)));
    closePassthroughShared(config, shared);
  });
