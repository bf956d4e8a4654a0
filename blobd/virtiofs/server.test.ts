import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type ServerOptions, VirtiofsServer } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "virtiofs-server-"));
after(() => rmSync(folder, { recursive: true }));
const pmem = join(folder, "pmem");
writeFileSync(pmem, "");
truncateSync(pmem, 2 << 20);

const options: ServerOptions = {
  device: {
    tag: "volume",
    queues: 1,
    windowBytes: 0,
    volume: { source: join(folder, "absent") },
    guestMemory: [{ guestAddress: 2 ** 32, path: pmem }],
  },
  socketPath: join(folder, "socket"),
  log: { info: () => {}, warn: () => {} },
};

/** What this process has open, and its processes. */
function held(): string {
  const children = readdirSync("/proc/self/task").flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, "utf8").split(" ").filter(Boolean),
  );
  return `${readdirSync("/proc/self/fd").length} descriptors, ${children.length} processes`;
}

for (const supervised of [false, true])
  test(`a directory that is not there leaves nothing open${supervised ? ", nor a process" : ""}`, async () => {
    const start = () => VirtiofsServer.start({ ...options, supervised });
    // The first call opens what stays: libraries, the event loop's own.
    await assert.rejects(start, /ENOENT/);
    const before = await settled();
    await assert.rejects(start, /ENOENT/);
    assert.equal(await settled(), before);
    assert.match(before, / 0 processes$/);
  });

/** What is held when that changes no more: a process that was told to end takes a moment. */
async function settled(): Promise<string> {
  const deadline = performance.now() + 5000;
  for (let last = ""; ; ) {
    const now = held();
    if ((now === last && now.endsWith(" 0 processes")) || performance.now() > deadline) return now;
    last = now;
    await setTimeout(100);
  }
}
