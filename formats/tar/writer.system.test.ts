/** Archives that we write, unpacked by other programs. Needs root and Debian's tar, libarchive-tools, attr. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { TarReader, TarWriter } from "./index.ts";
import { fullTree, onDisk, run } from "./testing-tree.ts";

let scratch: string;
let archive: string;
before(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), "tar-writer-"));
  fullTree(path.join(scratch, "full"));
  archive = path.join(scratch, "written.tar");
  const parts: Buffer[] = [];
  const writer = new TarWriter((bytes, start, end) => parts.push(Buffer.from(bytes.subarray(start, end))));
  const reader = new TarReader(writer);
  const options = ["--format=posix", "--xattrs", "--xattrs-include=*"];
  reader.push(run("tar", "-C", path.join(scratch, "full"), "-c", ...options, "."));
  reader.end();
  writer.finish();
  fs.writeFileSync(archive, Buffer.concat(parts));
});
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

test("GNU tar makes the same tree of it, to the nanosecond and the last attribute", () => {
  const to = path.join(scratch, "gnu");
  fs.mkdirSync(to);
  const options = [
    "--xattrs",
    "--xattrs-include=*",
    "--same-owner",
    "--numeric-owner",
    "-p",
    "--delay-directory-restore",
  ];
  run("tar", "-C", to, "-xf", archive, ...options);
  assert.deepEqual(onDisk(to), onDisk(path.join(scratch, "full")));
});

test("bsdtar reads it", () => {
  const names = run("bsdtar", "-tf", archive).toString().trim().split("\n");
  assert.equal(names.length, onDisk(path.join(scratch, "full")).size);
});
