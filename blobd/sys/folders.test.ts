import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makeFolders } from "./folders.ts";

test("makeFolders makes what is absent, and takes what is there", (t) => {
  const root = mkdtempSync(join(tmpdir(), "erofsify-folders-"));
  t.after(() => rmSync(root, { recursive: true }));
  const deep = join(root, "a/b/c");
  makeFolders(deep, 0o700);
  makeFolders(deep, 0o700);
  for (const path of [deep, join(root, "a")]) assert.equal(statSync(path).mode, 0o40700);
  makeFolders(`${join(root, "slash")}/`);
  assert.ok(statSync(join(root, "slash")).isDirectory());
});

test("makeFolders ends where nothing can be made", (t) => {
  const root = mkdtempSync(join(tmpdir(), "erofsify-folders-"));
  t.after(() => rmSync(root, { recursive: true }));
  writeFileSync(join(root, "file"), "");
  assert.throws(() => makeFolders(join(root, "file/a/b")), { code: "ENOTDIR" });
  assert.throws(() => makeFolders("/proc/absent/a/b"), { code: "ENOENT" });
});
