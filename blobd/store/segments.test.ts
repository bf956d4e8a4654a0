import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { BlobFile } from "./blob-file.ts";
import { BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { StoreError } from "./errors.ts";
import { Segments } from "./segments.ts";
import { VerityLeaves } from "./verity-leaves.ts";

test("when one digest fails, the others have ended before the buffers may go", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "segments-"));
  const file = BlobFile.create(join(folder, "blob"), false);
  t.after(() => {
    file.close();
    rmSync(folder, { recursive: true, force: true });
  });
  let underWay = 0;
  class FirstFails extends VerityLeaves {
    override async add(index: number, bytes: Uint8Array): Promise<void> {
      if (index === 0) throw Object.assign(new Error("no memory"), { code: "ENOMEM" });
      underWay++;
      await super.add(index, bytes);
      underWay--;
    }
  }
  const leaves = new FirstFails();
  const segments = new Segments(file, new BufferPool(), leaves);
  for (let index = 0; index < 3; index++) segments.add(index).bytes.fill(index);
  await assert.rejects(segments.digestRest(leaves, 2, SEGMENT_BYTES), StoreError);
  assert.equal(underWay, 0);
  assert.equal(segments.busy, false);
  segments.free();
});
