import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { busyboxLayer, guestEnvironment, tempDir } from "../testkit/index.ts";
import { GuestCommandError, imageOfEntries, parseMeminfo, ShellGuest } from "./index.ts";

const APPLETS = ["sh", "cat", "base64", "chmod", "sha256sum", "seq", "sync", "poweroff"];
const FOLDERS = ["dev/", "proc/", "sys/", "tmp/"];

test("a guest with a shell: scripts, their status and errors, files put into it, memory", async (t) => {
  const work = tempDir(t);
  const image = await imageOfEntries([...FOLDERS.map((name) => ({ name, type: "5" })), ...busyboxLayer(APPLETS)], work);
  const env = { ...process.env, ...(await guestEnvironment()) };
  const machine = { memoryBytes: 256 << 20, cpus: 1, devices: [], needs: [], timeoutMs: 60_000 };
  const guest = await ShellGuest.boot({ ...image, ...machine, env });
  t.after(() => guest.end());

  assert.equal(await guest.shell("one=1\n  echo '  kept'\necho $one $((one + 1)) # not more"), "  kept\n1 2\n");
  assert.equal(await guest.shell("echo $one; cat"), "1\n", "variables stay, there is no input");
  assert.equal((await guest.shell("seq 100000")).length, 588_895);
  await assert.rejects(
    guest.shell("echo out; echo 'in the way' >&2; (exit 7)"),
    (error) => error instanceof GuestCommandError && error.status === 7 && /"echo out.*in the way/.test(error.message),
  );
  assert.equal(await guest.shell("echo 'of this one'"), "of this one\n");

  const bytes = randomBytes(30_000);
  await guest.put("/tmp/file", bytes);
  assert.deepEqual(Buffer.from(await guest.shell("base64 /tmp/file"), "base64"), bytes);
  assert.equal(await guest.shell("test -x /tmp/file && echo yes"), "yes\n");

  const memory = await guest.memory();
  assert.ok(memory.total > 128 << 20 && memory.total < 256 << 20, `${memory.total} bytes`);
  await guest.dropCaches();
  await assert.rejects(guest.shell("exit 3"), /the guest ended with status 3 during "exit 3"/);
});

test("meminfo: fields by their whole names, in bytes", () => {
  const text = "MemTotal: 100 kB\nMemAvailable:   90 kB\nBuffers: 1 kB\nSwapCached: 7 kB\nCached: 5 kB\nSlab: 3 kB\n";
  assert.deepEqual(parseMeminfo(text), { total: 102400, available: 92160, cached: 5120, buffers: 1024, slab: 3072 });
  assert.throws(() => parseMeminfo("MemTotal: 1 kB\n"), /no MemAvailable/);
});
