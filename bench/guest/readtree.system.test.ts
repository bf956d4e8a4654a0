import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { run, tempDir } from "../../builder/testkit/index.ts";
import { compileReader } from "./inputs.ts";

const directory = tempDir();
const tree = join(directory, "tree");
let reader: string;

before(async () => {
  reader = await compileReader(directory);
  mkdirSync(join(tree, "a/b/c"), { recursive: true });
  mkdirSync(join(tree, "empty"));
  // More entries than one getdents64(2) returns, more bytes than one read(2).
  for (let i = 0; i < 2000; i++) writeFileSync(join(tree, "a/b", `file-with-a-rather-long-name-${i}`), "x".repeat(i));
  writeFileSync(join(tree, "a/b/c/large"), Buffer.alloc((3 << 20) + 1));
  writeFileSync(join(tree, ".hidden"), "12345");
  writeFileSync(join(tree, "..."), "");
  symlinkSync("a/b/c/large", join(tree, "link"));
  symlinkSync("a", join(tree, "link-to-directory"));
});

test("readtree reads every regular file once, and follows no links", async () => {
  const { stdout } = await run(reader, [tree]);
  const [files, bytes, nanoseconds] = stdout.split(" ").map(Number);
  assert.equal(files, 2000 + 3);
  assert.equal(bytes, (2000 * 1999) / 2 + (3 << 20) + 1 + 5);
  assert.ok(nanoseconds! > 0);
});

test("readtree ends with status 1 and says why", async () => {
  await assert.rejects(run(reader, [join(tree, "absent")]), /status 1: cannot open .*absent/);
  await assert.rejects(run(reader, []), /status 1: usage: readtree DIRECTORY/);
  await run("sh", ["-c", 'mkdir -p "$(printf "%s/deep" "$1"; printf "/d%.0s" $(seq 70))"', "sh", directory]);
  await assert.rejects(run(reader, [join(directory, "deep")]), /status 1: too deep: d/);
});
