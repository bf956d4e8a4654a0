import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { CommandError } from "../../builder/testkit/index.ts";
import { readCpuTimes } from "./cpu.ts";
import { measure } from "./index.ts";

/** Busy for 0.3 s, with 100 MiB of memory. */
const SCRIPT = `
  const held = Buffer.alloc(100 << 20, 1);
  const start = process.cpuUsage();
  while (process.cpuUsage(start).user < 300_000) held[0]++;
  console.log(held.length);`;
const busy = { command: process.execPath, args: ["-e", SCRIPT] };

test("readCpuTimes: what a child uses is our own, while it runs and when it has ended", async () => {
  const before = readCpuTimes();
  const child = spawn(busy.command, busy.args, { stdio: "ignore" });
  await once(child, "close");
  const after = readCpuTimes();
  const own = after.own - before.own;
  assert.ok(own >= 0.25 && own < 5, `own ${own} s`);
  assert.ok(after.all - before.all >= own - 0.1, `all ${after.all - before.all} s, own ${own} s`);
  assert.ok(after.kernel >= before.kernel && after.stolen >= before.stolen);
});

test("measure: wall and processor time, memory and output of a command", async () => {
  const run = await measure(busy, tmpdir());
  assert.equal(run.stdout, `${100 << 20}\n`);
  assert.ok(run.userSeconds >= 0.29, `user ${run.userSeconds} s`);
  assert.ok(run.wallSeconds >= 0.29, `wall ${run.wallSeconds} s`);
  assert.ok(run.peakBytes > 100 << 20 && run.peakBytes < 400 << 20, `peak ${run.peakBytes}`);
});

test("measure: a command that fails is told with its words", async () => {
  const failing = { command: "sh", args: ["-c", "echo no luck >&2; exit 3"] };
  await assert.rejects(measure(failing, tmpdir()), (error) => {
    assert.ok(error instanceof CommandError);
    assert.equal(error.status, 3);
    assert.match(error.message, /no luck/);
    return true;
  });
});
