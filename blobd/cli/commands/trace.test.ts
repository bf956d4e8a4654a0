import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { LineSocket } from "../../control/index.ts";

const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));

/** `blobd trace` at a daemon that answers so. */
async function trace(t: TestContext, answer: () => Promise<string>, ...options: string[]) {
  const folder = mkdtempSync(join(tmpdir(), "trace-"));
  const path = join(folder, "socket");
  const server = await LineSocket.listen(
    path,
    () => ({ answer, end: () => {} }),
    () => {},
  );
  t.after(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return await new Promise<{ status: unknown; stderr: string }>((resolve) => {
    execFile(process.execPath, [MAIN, "trace", "--socket", path, ...options], (error, _, stderr) =>
      resolve({ status: error?.code ?? 0, stderr }),
    );
  });
}

test("a daemon that refuses to record is heard", async (t) => {
  const refused = async () => {
    throw Object.assign(new Error("nothing can be recorded"), { code: "ERR_REFUSED" });
  };
  const { status, stderr } = await trace(t, refused);
  assert.equal(status, 1);
  assert.match(stderr, /^blobd: .*socket: nothing can be recorded\n$/);
});

test("more seconds than a timer takes are refused, not taken for none", async (t) => {
  const { status, stderr } = await trace(t, async () => '{"recording":true}\n', "--seconds", "2147484");
  assert.equal(status, 2);
  assert.match(stderr, /--seconds 2147484: expected at most 2147483 seconds/);
});
