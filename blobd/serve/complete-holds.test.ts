import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Store } from "../store/index.ts";
import { CompleteHolds } from "./complete-holds.ts";

test("what an earlier service held goes; what clients have been given meanwhile stays", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "complete-holds-"));
  const store = await Store.open(root);
  t.after(() => {
    store.close();
    rmSync(root, { recursive: true, force: true });
  });
  const [old, taken] = await Promise.all(["old", "taken"].map((text) => store.putBytes(Buffer.from(text))));
  await new CompleteHolds(root).serve(old!.digestHex); // Its process is killed.
  const holds = new CompleteHolds(root);
  await holds.serve(taken!.digestHex);
  await holds.removeStale();
  assert.deepEqual(
    store.listHolds().map(({ files }) => files),
    [[taken!.digestHex]],
  );
});
