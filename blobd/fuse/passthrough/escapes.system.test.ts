import assert from "node:assert/strict";
import {
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { SetattrFlag } from "../../../formats/fuse/index.ts";
import { makeDevice } from "../../sys/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough } from "./index.ts";
import { Client, Refused, refusal } from "./testing.ts";

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC } = constants;
const ROOT = 1;
const isRoot = process.geteuid!() === 0;
const work = mkdtempSync(join(tmpdir(), "passthrough-escapes-"));
after(() => rmSync(work, { recursive: true }));

/** What lies outside, and must be neither read nor changed. */
const outside = join(work, "outside");
mkdirSync(outside);
writeFileSync(join(outside, "secret"), "SECRET");
mkdirSync(join(outside, "dir"));
writeFileSync(join(outside, "dir/file"), "SECRET");
const source = join(work, "export");
mkdirSync(join(source, "sub/deep"), { recursive: true });
writeFileSync(join(source, "sub/file"), "inside");

const config = { source };
const shared = createPassthroughShared(config);
after(() => closePassthroughShared(config, shared));
const client = new Client(openPassthrough(config, shared));
const sub = client.lookup(ROOT, "sub").nodeId;
const file = client.lookup(sub, "file").nodeId;

function outsideIsWhole(): void {
  assert.deepEqual(readdirSync(outside).sort(), ["dir", "secret"]);
  assert.deepEqual(readdirSync(join(outside, "dir")), ["file"]);
  for (const name of ["secret", "dir/file"]) assert.equal(readFileSync(join(outside, name), "utf8"), "SECRET");
  assert.deepEqual(readdirSync(work).sort(), ["export", "outside"]);
}

/** Names that are none. */
const NAMES = [
  "..",
  ".",
  "",
  "/",
  "//",
  "../outside",
  "../outside/secret",
  "sub/../../outside/secret",
  "sub/..",
  "./sub",
  "/etc/passwd",
  join(outside, "secret"),
  "sub/",
  "sub/file",
  "..\0",
  "a\0/../..",
  `${"x".repeat(255)}/..`,
  "x".repeat(256),
  "/proc/self/root",
  "/proc/self/fd/0",
] as const;

let attempts = 0;

test("names that are paths lead nowhere, in any operation", () => {
  const operations: ((name: string) => unknown)[] = [
    (name) => client.lookup(sub, name),
    (name) => client.lookup(ROOT, name),
    (name) => client.create(sub, name, O_RDWR | O_CREAT),
    (name) => client.create(ROOT, name, O_RDWR | O_CREAT | O_TRUNC),
    (name) => client.mkdir(sub, name),
    (name) => client.mknod(sub, name, 0o100644),
    (name) => client.symlink(sub, name, "x"),
    (name) => client.link(file, sub, name),
    (name) => client.unlink(sub, name),
    (name) => client.rmdir(sub, name),
    (name) => client.rename(sub, name, sub, "new"),
    (name) => client.rename(sub, "file", sub, name),
    (name) => client.rename(sub, name, ROOT, "sub", 2),
  ];
  for (const name of NAMES)
    for (const operation of operations) {
      attempts++;
      assert.notEqual(
        refusal(() => operation(name)),
        0,
        `${JSON.stringify(name)} in ${operation}`,
      );
    }
  outsideIsWhole();
  assert.deepEqual(readdirSync(source), ["sub"]);
  assert.deepEqual(readdirSync(join(source, "sub")).sort(), ["deep", "file"]);
});

test("symlinks are what they are, wherever they point", () => {
  const targets = [
    "../outside/secret",
    "../outside",
    "../outside/dir",
    "../../..",
    "/",
    "/etc/passwd",
    join(outside, "secret"),
    "/proc/self/fd/0",
    "/proc/self/root/etc/passwd",
    "/proc/self/cwd",
    "/dev/null",
    "sub",
    ".",
    "..",
  ];
  for (const [index, target] of targets.entries()) {
    const name = `link${index}`;
    symlinkSync(target, join(source, name));
    const { nodeId, mode } = client.lookup(ROOT, name);
    assert.equal(mode & 0o170000, 0o120000);
    const tries: (() => unknown)[] = [
      () => client.open(nodeId, O_RDONLY),
      () => client.open(nodeId, O_RDWR | O_TRUNC),
      () => client.opendir(nodeId),
      () => client.lookup(nodeId, "secret"),
      () => client.lookup(nodeId, "file"),
      () => client.create(nodeId, "new", O_RDWR | O_CREAT),
      () => client.create(ROOT, name, O_RDWR | O_CREAT),
      () => client.create(ROOT, name, O_RDWR | O_CREAT | O_TRUNC),
      () => client.create(ROOT, name, O_RDWR | O_CREAT | O_EXCL),
      () => client.mkdir(nodeId, "new"),
      () => client.unlink(nodeId, "secret"),
      () => client.rename(nodeId, "secret", ROOT, "stolen"),
      () => client.rename(sub, "file", nodeId, "leaked"),
      () => client.link(file, nodeId, "leaked"),
      () => client.setattr(nodeId, SetattrFlag.SIZE, { size: 0 }),
      () => client.setattr(nodeId, SetattrFlag.MODE, { mode: 0o777 }),
      () => client.tmpfile(nodeId, O_RDWR),
      () => client.rmdir(ROOT, name),
      () => client.getxattr(nodeId, "user.any"),
      () => client.setxattr(nodeId, "user.any", Buffer.from("x")),
    ];
    for (const attempt of tries) {
      attempts++;
      assert.notEqual(refusal(attempt), 0, `${target}: ${attempt}`);
    }
    // The link itself has times and an owner; they are its own.
    const before = existsSync(join(source, target)) ? statSync(join(source, target), { bigint: true }).mtimeNs : 0n;
    client.setattr(nodeId, SetattrFlag.MTIME, { mtime: 99 });
    assert.equal(lstatSync(join(source, name)).mtimeMs, 99_000);
    if (before !== 0n && target !== "." && target !== "..")
      assert.equal(statSync(join(source, target), { bigint: true }).mtimeNs, before, target);
    client.unlink(ROOT, name);
  }
  outsideIsWhole();
});

test("made-up nodes and handles are refused, near and far", () => {
  const fh = client.open(file, O_RDWR);
  const ids = [0, 2 ** 32 + 1, 2 ** 32, 2 ** 31, 2 ** 52, 2 ** 53 - 1, -1, file + 2 ** 32, 4_000_000, 5_000_000];
  for (const id of ids) {
    const onNode: (() => unknown)[] = [
      () => client.getattr(id),
      () => client.lookup(id, "file"),
      () => client.open(id, O_RDWR),
      () => client.opendir(id),
      () => client.readlink(id),
      () => client.unlink(id, "file"),
      () => client.rename(sub, "file", id, "x"),
      () => client.link(id, ROOT, "x"),
      () => client.setattr(id, SetattrFlag.MODE, { mode: 0 }),
      () => client.read(id, fh, 0, 10),
      () => client.write(id, fh, 0, Buffer.from("x")),
      () => client.release(id, fh),
      () => client.read(file, id, 0, 10),
      () => client.write(file, id, 0, Buffer.from("x")),
      () => client.release(file, id),
      () => client.releasedir(sub, id),
      () => client.readdirOnce(sub, id, 0n, 4096, true),
      () => client.flush(file, id),
    ];
    for (const attempt of onNode) {
      attempts++;
      let error: unknown;
      try {
        attempt();
      } catch (thrown) {
        error = thrown;
      }
      assert.ok(
        error instanceof Refused || (error instanceof Error && error.name === "FormatError"),
        `${id}: ${attempt}`,
      );
    }
    client.forget(id, 1_000_000);
  }
  // A handle is of its file and kind only.
  const other = client.create(ROOT, "other", O_RDWR | O_CREAT);
  const dir = client.opendir(sub);
  for (const attempt of [
    () => client.read(other.nodeId, fh, 0, 1),
    () => client.write(other.nodeId, fh, 0, Buffer.from("x")),
    () => client.read(sub, dir, 0, 1),
    () => client.release(sub, dir),
    () => client.releasedir(file, fh),
    () => client.readdirOnce(ROOT, dir, 0n, 4096, false),
    () => client.readdirOnce(file, fh, 0n, 4096, false),
  ]) {
    attempts++;
    assert.notEqual(refusal(attempt), 0, attempt.toString());
  }
  assert.equal(client.read(file, fh, 0, 10).toString(), "inside", "and works for its own");
  client.unlink(ROOT, "other");
});

test("directories are not files, nor files directories", () => {
  for (const attempt of [
    () => client.open(sub, O_RDONLY),
    () => client.open(sub, O_WRONLY),
    () => client.opendir(file),
    () => client.lookup(file, "x"),
    () => client.create(file, "x", O_RDWR | O_CREAT),
    () => client.setattr(sub, SetattrFlag.SIZE, { size: 0 }),
    () => client.readlink(sub),
    () => client.tmpfile(file, O_RDWR),
    () => client.rmdir(sub, "file"),
    () => client.unlink(ROOT, "sub"),
  ]) {
    attempts++;
    assert.notEqual(refusal(attempt), 0, attempt.toString());
  }
});

test("a device is made as a name, and the host's is never touched", { skip: !isRoot && "needs root" }, () => {
  const nodes = [
    [0o020666, makeDevice(1, 3)],
    [0o020666, makeDevice(1, 1)],
    [0o060666, makeDevice(254, 0)],
    [0o010666, 0],
    [0o140666, 0],
  ] as const;
  for (const [index, [mode, device]] of nodes.entries()) {
    const made = client.mknod(ROOT, `node${index}`, mode, device);
    for (const attempt of [
      () => client.open(made.nodeId, O_RDONLY),
      () => client.open(made.nodeId, O_WRONLY),
      () => client.create(ROOT, `node${index}`, O_RDWR | O_CREAT),
      () => client.opendir(made.nodeId),
      () => client.setattr(made.nodeId, SetattrFlag.SIZE, { size: 0 }),
    ]) {
      attempts++;
      assert.notEqual(refusal(attempt), 0, attempt.toString());
    }
    client.unlink(ROOT, `node${index}`);
  }
});

test("a hard link into the export shows the file that it is, and no other", () => {
  linkSync(join(outside, "secret"), join(source, "shared"));
  const { nodeId } = client.lookup(ROOT, "shared");
  const fh = client.open(nodeId, O_RDONLY);
  assert.equal(client.read(nodeId, fh, 0, 99).toString(), "SECRET", "the host put it there");
  client.release(nodeId, fh);
  unlinkSync(join(source, "shared"));
  outsideIsWhole();
});

test("a directory that is moved out on the host while it is known stays what it is", () => {
  mkdirSync(join(source, "mover/inner"), { recursive: true });
  const mover = client.lookup(ROOT, "mover").nodeId;
  const inner = client.lookup(mover, "inner").nodeId;
  renameSync(join(source, "mover/inner"), join(outside, "dir/inner"));
  for (const name of ["..", "../file", "../../secret"]) {
    attempts++;
    assert.notEqual(
      refusal(() => client.lookup(inner, name)),
      0,
    );
  }
  rmSync(join(outside, "dir/inner"), { recursive: true });
  outsideIsWhole();
});

test("names that change between directory, file and symlink under the lookup never lead out", async () => {
  mkdirSync(join(source, "race"));
  const race = client.lookup(ROOT, "race").nodeId;
  const dir = join(source, "race");
  mkdirSync(join(dir, "d"));
  writeFileSync(join(dir, "f"), "inside");
  symlinkSync(outside, join(dir, "l"));
  symlinkSync(join(outside, "secret"), join(dir, "s"));
  // Another thread exchanges what the name "x" is as fast as it can.
  const swapper = new Worker(
    `const { renameSync, rmSync } = require("node:fs");
     const { workerData } = require("node:worker_threads");
     const names = ["d", "f", "l", "s"];
     let turns = 0;
     const stop = new Int32Array(workerData.stop);
     while (Atomics.load(stop, 0) === 0) {
       const name = names[turns++ % 4];
       try {
         renameSync(workerData.dir + "/" + name, workerData.dir + "/x");
         renameSync(workerData.dir + "/x", workerData.dir + "/" + name);
       } catch {
         // A file that was made under that name meanwhile.
         rmSync(workerData.dir + "/x", { force: true });
       }
     }
    `,
    { eval: true, workerData: { dir, stop: new SharedArrayBuffer(4) } },
  );
  const until = Date.now() + 2500;
  const seen = { directory: 0, file: 0, link: 0, absent: 0 };
  while (Date.now() < until)
    for (let i = 0; i < 50; i++) {
      attempts++;
      try {
        const entry = client.lookup(race, "x");
        const type = entry.mode & 0o170000;
        if (type === 0o040000) {
          seen.directory++;
          for (const name of ["secret", "dir"])
            assert.notEqual(
              refusal(() => client.lookup(entry.nodeId, name)),
              0,
            );
        } else if (type === 0o100000) {
          seen.file++;
          const fh = client.open(entry.nodeId, O_RDONLY);
          // Empty when it is one that was made below.
          assert.ok(["inside", ""].includes(client.read(entry.nodeId, fh, 0, 99).toString()));
          client.release(entry.nodeId, fh);
        } else {
          seen.link++;
          assert.notEqual(
            refusal(() => client.open(entry.nodeId, O_RDONLY)),
            0,
          );
        }
        client.forget(entry.nodeId);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        seen.absent++;
      }
      if (i % 10 === 0)
        try {
          const made = client.create(race, "x", O_RDWR | O_CREAT);
          assert.equal(client.read(made.nodeId, made.fh, 0, 99).toString() === "SECRET", false);
          client.release(made.nodeId, made.fh);
          client.forget(made.nodeId);
        } catch (error) {
          if (!(error instanceof Refused)) throw error;
        }
    }
  await swapper.terminate();
  assert.ok(seen.directory > 0 && seen.file > 0 && seen.link > 0, `met each: ${JSON.stringify(seen)}`);
  outsideIsWhole();
});

test("there were more than 200 attempts", () => {
  assert.ok(attempts > 200, `${attempts}`);
});
