import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { EntrySink, TarEntry } from "../../formats/tar/index.ts";
import { tempDir } from "../testkit/index.ts";
import { walkDirectory } from "./index.ts";

/** Keeps what it is given. */
function collector() {
  const entries: { entry: TarEntry; data: string; ended: boolean }[] = [];
  const sink: EntrySink = {
    entry: (entry) => entries.push({ entry, data: "", ended: false }),
    data: (bytes, start, end) => {
      entries.at(-1)!.data += Buffer.from(bytes.subarray(start, end)).toString("latin1");
    },
    endEntry: () => {
      entries.at(-1)!.ended = true;
    },
  };
  return { entries, sink };
}

test("a tree comes depth first, in byte order, with all that is in it but sockets", async (t) => {
  const dir = tempDir(t);
  const at = (name: string | Buffer) => Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name)]);
  mkdirSync(at("b"));
  writeFileSync(at("b/file"), "content");
  writeFileSync(at("b-"), "");
  writeFileSync(at(Buffer.from([0x61, 0xff])), "bytes");
  chmodSync(at("b/file"), 0o4751);
  execFileSync("touch", ["-d", "@-1.5", join(dir, "b/file")]);
  linkSync(at("b/file"), at("c"));
  symlinkSync(Buffer.from([0x2e, 0x2f, 0xfe]), at("link"));
  linkSync(at("link"), at("link2"));
  execFileSync("mkfifo", [join(dir, "pipe")]);
  const socket = createServer().listen(join(dir, "socket"));
  await new Promise((resolve) => socket.once("listening", resolve));
  const { entries, sink } = collector();
  const progress: number[] = [];
  assert.equal(await walkDirectory(dir, sink, { onProgress: (n) => progress.push(n) }), 12);
  socket.close();
  assert.deepEqual(
    entries.map(({ entry, data, ended }) => [entry.path, entry.type, entry.linkPath, entry.size, data, ended]),
    [
      ["./", "directory", "", 0, "", true],
      ["a\xff", "file", "", 5, "bytes", true],
      ["b", "directory", "", 0, "", true],
      ["b/file", "file", "", 7, "content", true],
      ["b-", "file", "", 0, "", true],
      ["c", "hardlink", "b/file", 0, "", true],
      ["link", "symlink", "./\xfe", 0, "", true],
      ["link2", "hardlink", "link", 0, "", true],
      ["pipe", "fifo", "", 0, "", true],
    ],
  );
  const file = entries[3]!.entry;
  assert.deepEqual([file.mode, file.mtimeSeconds, file.mtimeNanos], [0o4751, -2, 500_000_000]);
  assert.deepEqual(progress, [12, 12]);
});

test("a large file comes in pieces, and the sink may drain between them", async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "large"), "");
  truncateSync(join(dir, "large"), 5_000_000);
  let pieces = 0;
  let drained = 0;
  const slow = {
    entry() {},
    endEntry() {},
    data: () => {
      pieces++;
      const end = Date.now() + 60;
      while (Date.now() < end);
    },
  };
  const drain = async () => {
    drained++;
  };
  assert.equal(await walkDirectory(dir, slow, { drain }), 5_000_000);
  assert.equal(pieces, 5);
  assert.equal(drained, 5);
});

test("an abort ends the walk", async (t) => {
  const dir = tempDir(t);
  for (const name of ["a", "b", "c"]) writeFileSync(join(dir, name), name);
  const controller = new AbortController();
  const reason = new Error("enough");
  let entries = 0;
  const sink: EntrySink = {
    entry() {
      entries++;
      controller.abort(reason);
      const end = Date.now() + 60;
      while (Date.now() < end);
    },
    data() {},
    endEntry() {},
  };
  await assert.rejects(walkDirectory(dir, sink, { signal: controller.signal }), reason);
  assert.equal(entries, 1);
});

test("a file that shrinks while it is read, or goes away, is an error that names it", async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "a"), Buffer.alloc(3 << 20));
  const shrinks: EntrySink = { entry() {}, data: () => truncateSync(join(dir, "a"), 1 << 20), endEntry() {} };
  await assert.rejects(walkDirectory(dir, shrinks), { code: "ERR_IO", message: /\/a: changed while it was read/ });
  const goes: EntrySink = { entry: (e) => e.type === "file" && rmSync(join(dir, "a")), data() {}, endEntry() {} };
  await assert.rejects(walkDirectory(dir, goes), { code: "ERR_NOT_FOUND", message: /\/a: no such file/ });
});

test("what is not a directory is refused", async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "file"), "");
  const { sink, entries } = collector();
  await assert.rejects(walkDirectory(join(dir, "file"), sink), { code: "ERR_IO", message: /ENOTDIR/ });
  await assert.rejects(walkDirectory(join(dir, "none"), sink), { code: "ERR_NOT_FOUND" });
  assert.deepEqual(entries, []);
});
