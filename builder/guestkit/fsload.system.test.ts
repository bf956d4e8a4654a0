import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { buildTar, run, tempDir } from "../testkit/index.ts";
import { compileFsload, parseFsload } from "./index.ts";

const directory = tempDir();
let program: string;
before(async () => {
  program = await compileFsload(directory);
});

async function fsload(...args: (string | number)[]) {
  return parseFsload((await run(program, args.map(String))).stdout);
}

test("fsload: files of a folder", async () => {
  const folder = join(directory, "folder");
  await mkdir(folder);
  assert.deepEqual({ ...(await fsload("make", folder, 300, 4096)), seconds: 0 }, of(300, 300 * 4096));
  assert.deepEqual(
    readdirSync(folder).sort(),
    Array.from({ length: 300 }, (_, i) => `f${String(i).padStart(5, "0")}`),
  );
  assert.equal((await fsload("stat", folder, 300)).operations, 300);
  assert.equal((await fsload("open", folder, 300)).bytes, 300 * 4096);
  assert.equal((await fsload("list", folder)).operations, 302);
  assert.equal((await fsload("remove", folder)).operations, 300);
  assert.deepEqual(readdirSync(folder), []);
});

test("fsload: one file's data, which check knows", async () => {
  const file = join(directory, "file");
  const bytes = (5 << 20) + 4096;
  assert.deepEqual({ ...(await fsload("fill", file, bytes)), seconds: 0 }, of(6, bytes));
  for (const writing of [[], ["randwrite", file, 200], ["mapwrite", file, bytes]]) {
    if (writing.length > 0) await fsload(...writing);
    assert.equal((await fsload("check", file, bytes)).bytes, bytes);
  }
  assert.equal((await fsload("read", file)).bytes, bytes);
  assert.equal((await fsload("mapread", file)).bytes, bytes);
  assert.equal((await fsload("randread", file, 50)).bytes, 50 * 4096);
  assert.equal((await fsload("maprand", file, 50)).operations, 50);
  assert.equal((await run(program, ["ranges", file])).stdout.trim().split(" ").length, 3);
  assert.equal(readFileSync(file).readBigUInt64LE(8), (8n * 0x9e3779b97f4a7c15n) & 0xffff_ffff_ffff_ffffn);

  const fd = openSync(file, "r+");
  writeSync(fd, Buffer.of(1), 0, 1, (3 << 20) + 16);
  closeSync(fd);
  await assert.rejects(fsload("check", file, bytes), /wrong data/);
  await assert.rejects(fsload("check", file, bytes + 1), /wrong size/);
});

test("fsload: a tar unpacked as tar does", async () => {
  const tar = join(directory, "tree.tar");
  const long = "a-name-of-some-length/".repeat(6);
  const entries = [
    { name: "a/", type: "5" },
    ...Array.from({ length: 6 }, (_, i) => ({ name: "a-name-of-some-length/".repeat(i + 1), type: "5" })),
    { name: "a/file", content: "x".repeat(1000), mode: 0o640 },
    { name: `${long}file`, content: "y" },
    { name: "a/link", type: "2", link: "file" },
    { name: "a/empty", mtime: "1000" },
  ];
  writeFileSync(tar, buildTar(entries));
  const [ours, theirs] = [join(directory, "ours"), join(directory, "theirs")];
  await Promise.all([mkdir(ours), mkdir(theirs)]);
  // Through GNU tar: buildTar has PAX records for long names.
  await run("tar", ["-xf", tar, "-C", theirs]);
  await run("tar", ["--format=ustar", "-cf", tar, "-C", theirs, "."]);
  assert.equal((await fsload("untar", tar, ours)).bytes, 1001);
  await run("diff", ["-r", ours, theirs]);
  for (const path of ["a/file", `${long}file`, "a/empty"]) {
    const [a, b] = [statSync(join(ours, path)), statSync(join(theirs, path))];
    assert.deepEqual([a.mode, a.size, a.mtimeMs], [b.mode, b.size, b.mtimeMs], path);
  }
  await fsload("remove", ours);
  assert.deepEqual(readdirSync(ours), []);
});

test("fsload: what it does not understand, and what fails, is told", async () => {
  await assert.rejects(run(program, []), /status 2: usage: fsload OPERATION/);
  await assert.rejects(run(program, ["sleep", "x"]), /status 2: usage/);
  await assert.rejects(run(program, ["read", join(directory, "absent")]), /status 1: open .*absent: error 2/);
});

const of = (operations: number, bytes: number) => ({ operations, bytes, seconds: 0 });
