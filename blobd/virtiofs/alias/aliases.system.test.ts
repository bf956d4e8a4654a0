import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { mapShared, unmapShared, viewMemory } from "../../sys/index.ts";
import { Aliases, openAlias } from "./index.ts";

const MAPPED_BYTES = 2 << 20;
// This file is dist/blobd/virtiofs/alias/aliases.system.test.js when it runs.
const OPENER = fileURLToPath(new URL("./testing-opener.js", import.meta.url));
const GONE_WITHIN_MS = 10_000;

test("an alias says that it is long, and its memory is the file's, also when the aliases are gone", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "alias-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const path = join(dir, "file");
  writeFileSync(path, "hello");
  const fd = openSync(path, "r+");
  const aliases = await Aliases.start(() => {});
  const alias = openAlias(aliases.folderFd, fd, 1);
  assert.ok(alias >= 0, `error ${alias}`);
  assert.ok(fstatSync(alias).size > 1e15);
  const address = mapShared(alias, 0, MAPPED_BYTES);
  const memory = Buffer.from(viewMemory(address, MAPPED_BYTES));
  assert.equal(memory.toString("latin1", 0, 6), "hello\0");
  writeSync(fd, "HELLO, more", 0);
  assert.equal(memory.toString("latin1", 0, 11), "HELLO, more");
  ftruncateSync(fd, 10_000);
  memory.write("grown", 8192);
  assert.equal(readFileSync(path).toString("latin1", 8192, 8197), "grown");
  closeSync(alias);
  await aliases.close();
  memory.write("last ", 0);
  assert.equal(readFileSync(path).toString("latin1", 0, 5), "last ");
  unmapShared(address, MAPPED_BYTES);
  closeSync(fd);
});

test("what is no descriptor has no alias; two of one file are two, of one memory", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "alias-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "file"), "text");
  const aliases = await Aliases.start(() => {});
  assert.ok(openAlias(aliases.folderFd, 99_999, 1) < 0);
  const fd = openSync(join(dir, "file"), "r+");
  const pair = [1, 1].map((thread) => openAlias(aliases.folderFd, fd, thread));
  assert.notEqual(fstatSync(pair[0]!).ino, fstatSync(pair[1]!).ino);
  const addresses = pair.map((alias) => mapShared(alias, 0, 4096));
  Buffer.from(viewMemory(addresses[0]!, 4)).write("TEXT");
  assert.equal(Buffer.from(viewMemory(addresses[1]!, 4)).toString(), "TEXT");
  for (const address of addresses) unmapShared(address, 4096);
  for (const open of [...pair, fd]) closeSync(open);
  await aliases.close();
});

// A process that waits for a server which is one of its own threads could not be killed: its descriptors of /dev/fuse stay
// open for as long as it waits.
test("a process that is killed while it opens aliases is gone at once", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "alias-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const path = join(dir, "file");
  writeFileSync(path, "text");
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [OPENER, path], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    await sleep(5 + 7 * round);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    const isGone = await Promise.race([ended.then(() => true), sleep(GONE_WITHIN_MS, false, { ref: false })]);
    assert.ok(isGone, `round ${round}: process ${child.pid} has not ended`);
  }
});
