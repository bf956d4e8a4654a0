import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);

/** A device with a queue that sleeps, and then: */
for (const [name, ending, status] of [
  ["process.exit", "process.exit(7)", 7],
  ["an error that nobody catches", "setTimeout(() => { throw new Error('expected by the test') })", 1],
] as const)
  test(`workers and waits do not hold up the end of the process: ${name}`, { timeout: 20_000 }, async () => {
    const program = `
      import { rig } from ${url("./testing.js")};
      import { operation } from ${url("./testing-operations.js")};
      const { request } = await rig({ windowBytes: 8 << 20 });
      await request(operation(0));
      ${ending}`;
    const folder = mkdtempSync(join(tmpdir(), "exit-"));
    writeFileSync(join(folder, "program.mjs"), program);
    const child = spawn(process.execPath, [join(folder, "program.mjs")], { stdio: "ignore" });
    assert.deepEqual(await once(child, "exit"), [status, null]);
    rmSync(folder, { recursive: true });
  });
