import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmdirSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findFuseMount } from "../../blobd/fuse/device/index.ts";
import { unmount } from "../../blobd/sys/index.ts";
import { parseSource } from "../names/index.ts";
import {
  buildTar,
  compareTrees,
  describeTree,
  EDGE_TAG,
  mountImage,
  tempDir,
  writeEdgeImage,
  writeOciLayout,
} from "../testkit/index.ts";
import { convertImage } from "./convert.ts";
import { exportDirectory, exportSingle } from "./export.ts";
import { randomImage } from "./testing-random-image.ts";

// `blobd imagefs` on this host against the kernel's EROFS, path by path.

const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const { signal } = new AbortController();

/** Shows an image by `blobd imagefs` for the time of a test. */
async function serve(t: TestContext, image: string, options: readonly string[] = []): Promise<string> {
  const target = mkdtempSync(join(tmpdir(), "imagefs-"));
  const args = ["--enable-source-maps", BLOBD, "imagefs", "--log-level", "warn", ...options, image, target];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr!.on("data", (text) => {
    log += text;
  });
  const ended = once(child, "close");
  t.after(async () => {
    if (findFuseMount(target) !== null) unmount(target, { lazy: true });
    await ended;
    rmdirSync(target);
    assert.equal(log, "");
  });
  const [said] = await Promise.race([once(child.stdout!, "data"), ended]);
  assert.match(String(said), /imagefs-/, log);
  return target;
}

async function convertEdge(directory: string) {
  await writeEdgeImage(join(directory, "layout"));
  const { record } = await convertImage(parseSource(`oci:${join(directory, "layout")}:${EDGE_TAG}`), {
    storeRoot: join(directory, "store"),
    layer: { inlineTails: false },
  });
  return record;
}

test("the edge image: every path as EROFS shows it; by name from the store, from a folder, from one flat file", async (t) => {
  const directory = tempDir(t);
  const at = (name: string) => join(directory, name);
  const record = await convertEdge(directory);
  const metaPath = await exportDirectory(at("store"), record, at("export"), signal);
  const { path: flatPath } = await exportSingle(at("store"), record, at("flat.erofs"), signal);
  const devicePaths = record.blobs.map(({ digestHex }) => join(at("export"), "blobs/sha256", digestHex));
  const kernel = mountImage(t, { metaPath, devicePaths });
  const expected = describeTree(kernel);
  const fromStore = await serve(t, record.references[0]!, ["--store", at("store")]);
  assert.deepEqual(compareTrees(expected, describeTree(fromStore)), []);
  assert.deepEqual(compareTrees(expected, describeTree(await serve(t, at("export")))), []);
  assert.deepEqual(compareTrees(expected, describeTree(await serve(t, flatPath))), []);
  sameNumbers(fromStore, kernel);
  assert.deepEqual(seeks(fromStore), seeks(kernel));
  refusals(fromStore);
});

/** Inode numbers tell hard links apart, and names of a directory carry those of their files. */
function sameNumbers(ours: string, kernel: string): void {
  const stat = statSync(join(ours, "linked1"));
  assert.equal(stat.ino, statSync(join(ours, "linked3")).ino);
  assert.equal(stat.nlink, 4);
  const listed = execFileSync("ls", ["-ai1", ours], { encoding: "utf8" }).trim().split("\n");
  for (const line of listed) {
    const [ino, name] = line.trim().split(/ +/);
    if (name !== "..") assert.equal(lstatSync(join(ours, name!)).ino, Number(ino), name);
  }
  assert.equal(statSync(join(ours, "sizes/big")).blocks, statSync(join(kernel, "sizes/big")).blocks);
  const [a, b] = [statfsSync(ours), statfsSync(kernel)];
  assert.deepEqual([a.blocks, a.bsize, a.bfree], [b.blocks, b.bsize, b.bfree]);
}

function refusals(ours: string): void {
  for (const [script, says] of [
    ["touch new", /Read-only file system/],
    ["echo x > absolute", /Read-only file system/],
    ["rm absolute", /Read-only file system/],
    ["cat absent", /No such file or directory/],
    ["cat absolute/x", /Not a directory/],
    ["getfattr --only-values -n user.absent absolute", /No such attribute/],
  ] as const)
    assert.throws(() => execFileSync("sh", ["-c", script], { cwd: ours, stdio: "pipe" }), says);
}

const SEEK = `import os, sys
def ends(path):
    fd, at, found = os.open(path, os.O_RDONLY), 0, []
    try:
        while True:
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                at = os.lseek(fd, at, whence)
                found.append(at)
    except OSError:
        return found
for root, dirs, files in os.walk(sys.argv[1]):
    for name in sorted(files):
        path = os.path.join(root, name)
        if os.path.isfile(path) and not os.path.islink(path):
            print(os.path.relpath(path, sys.argv[1]).encode("utf8", "surrogateescape"), ends(path))`;

/** Where lseek finds data and holes. */
function seeks(folder: string): string[] {
  return execFileSync("python3", ["-c", SEEK, folder], { encoding: "utf8" }).trim().split("\n").sort();
}

for (const seed of [3, 11])
  test(`random image ${seed}: every path as EROFS shows it`, async (t) => {
    const directory = tempDir(t);
    const at = (name: string) => join(directory, name);
    const { layers } = randomImage(seed);
    await writeOciLayout(at("layout"), "random", layers.map(buildTar));
    const { record } = await convertImage(parseSource(`oci:${at("layout")}:random`), {
      storeRoot: at("store"),
      layer: { inlineTails: seed % 3 === 0 },
    });
    const metaPath = await exportDirectory(at("store"), record, at("export"), signal);
    const devicePaths = record.blobs.map(({ digestHex }) => join(at("export"), "blobs/sha256", digestHex));
    const kernel = mountImage(t, { metaPath, devicePaths });
    const expected = describeTree(kernel);
    const ours = await serve(t, at("export"), ["--threads", "2"]);
    assert.deepEqual(compareTrees(expected, describeTree(ours)), []);
    assert.deepEqual(seeks(ours), seeks(kernel));
    randomReads(ours, expected.keys(), seed);
  });

/** Reads at odd places with O_DIRECT-like sizes see what whole reads see. */
function randomReads(ours: string, paths: Iterable<string>, seed: number): void {
  let state = seed;
  const below = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state % limit;
  };
  let read = 0;
  for (const path of paths) {
    if (path.includes("\\")) continue;
    const file = join(ours, path);
    const stat = lstatSync(file);
    if (!stat.isFile() || stat.size < 2) continue;
    const whole = execFileSync("cat", [file], { maxBuffer: 64 << 20 });
    const fd = openSync(file, "r");
    for (let i = 0; i < 10; i++) {
      const [from, length] = [below(stat.size), 1 + below(100_000)];
      const buffer = Buffer.alloc(length);
      const got = readSync(fd, buffer, 0, length, from);
      assert.ok(buffer.subarray(0, got).equals(whole.subarray(from, from + length)), path);
      read++;
    }
    closeSync(fd);
  }
  assert.ok(read > 50, `${read} reads`);
}

test("what is no image, or lacks a blob, is refused before anything is mounted", async (t) => {
  const directory = tempDir(t);
  const at = (name: string) => join(directory, name);
  const record = await convertEdge(directory);
  const metaPath = await exportDirectory(at("store"), record, at("export"), signal);
  writeFileSync(at("text"), "no image at all".repeat(1000));
  mkdirSync(at("alone"));
  mkdirSync(at("target"));
  execFileSync("cp", [metaPath, at("alone/image.erofs")]);
  const store = ["--store", at("store")];
  for (const [image, says] of [
    [at("text"), /erofs_super_block.magic/],
    [at("alone"), /needs the blob [0-9a-f]{64}/],
    ["no/such:image", /no image of that name/],
    [at("target"), /holds no image.erofs/],
  ] as const) {
    const child = spawn(process.execPath, [BLOBD, "imagefs", ...store, image, at("target")]);
    let said = "";
    child.stderr.on("data", (text) => {
      said += text;
    });
    const [status] = await once(child, "close");
    assert.match(said, says);
    assert.notEqual(status, 0);
    assert.equal(findFuseMount(at("target")), null);
  }
  const found = await serve(t, at("alone"), ["--blob-folder", join(at("export"), "blobs/sha256")]);
  assert.ok(statSync(join(found, "sizes/big")).size > 2 << 20);
});
