import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { controlSocketPath, LineSocket } from "../control/index.ts";
import { leaseBlobs } from "./index.ts";

const REQUEST = { endpoints: [], repository: "a/b", blobs: [] };
const never = new AbortController().signal;

function storeFolder(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "lease-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

test("a signal that was given before the connection was there ends the wait for the answer", {
  timeout: 10_000,
}, async (t) => {
  const root = storeFolder(t);
  const attendant = { answer: () => new Promise<string>(() => {}), end: () => {} };
  const server = await LineSocket.listen(
    controlSocketPath(root),
    () => attendant,
    () => {},
  );
  t.after(() => server.close());
  const reason = new Error("interrupted");
  await assert.rejects(leaseBlobs(root, REQUEST, { signal: AbortSignal.abort(reason) }), reason);
});

test("a daemon that ends without a word is not waited for", async (t) => {
  const root = storeFolder(t);
  const preload = join(root, "preload.cjs");
  writeFileSync(preload, "process.exit(0);");
  const before = process.env.NODE_OPTIONS ?? "";
  process.env.NODE_OPTIONS = `${before} --require ${preload}`;
  t.after(() => {
    process.env.NODE_OPTIONS = before;
  });
  const startMs = performance.now();
  await assert.rejects(leaseBlobs(join(root, "store"), REQUEST, { signal: never }), /it has ended without a word/);
  assert.ok(performance.now() - startMs < 10_000);
});

test("a daemon that cannot be started is told with the reason", async (t) => {
  const root = storeFolder(t);
  mkdirSync(join(root, "store"));
  const { execPath } = process;
  process.execPath = join(root, "no-such-node");
  t.after(() => {
    process.execPath = execPath;
  });
  await assert.rejects(leaseBlobs(join(root, "store"), REQUEST, { signal: never }), /could not be started.*ENOENT/);
});
