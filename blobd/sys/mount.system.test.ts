import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { attachLoop, mount, mountErofs, SysError, unmount } from "./index.ts";
import { configureLoop } from "./loop.ts";

const dir = mkdtempSync(join(tmpdir(), "sys-mount-"));
const target = join(dir, "target");
const content = Buffer.alloc(100_000, "some file data, ");
let mounted = false;

mkdirSync(join(dir, "tree"));
mkdirSync(target);
writeFileSync(join(dir, "tree", "file"), content);
const meta = join(dir, "meta.erofs");
const blob = join(dir, "blob");
execFileSync("mkfs.erofs", ["--quiet", "--chunksize=4096", `--blobdev=${blob}`, meta, join(dir, "tree")]);

after(() => {
  if (mounted) unmount(target, { lazy: true });
  rmSync(dir, { recursive: true });
});

/** Loop devices whose backing file is `file`, by sysfs. */
const loopsOf = (file: string) =>
  execFileSync("losetup", ["--noheadings", "--list", "--output", "NAME", "--associated", file], { encoding: "utf8" })
    .split("\n")
    .filter(Boolean);

function checkAndUnmount(): void {
  mounted = true;
  assert.deepEqual(readFileSync(join(target, "file")), content);
  unmount(target);
  mounted = false;
  assert.equal(existsSync(join(target, "file")), false);
}

for (const backing of ["any", "file", "loop"] as const)
  test(`mountErofs mounts a meta with an extra device, backing "${backing}"`, () => {
    const used = mountErofs({ metaPath: meta, devicePaths: [blob], target, backing });
    if (backing !== "any") assert.equal(used, backing);
    assert.equal(loopsOf(blob).length, used === "loop" ? 1 : 0);
    checkAndUnmount();
    assert.deepEqual(loopsOf(blob), [], "the loop devices are gone with the mount");
  });

test("paths with commas and paths longer than 255 bytes", () => {
  const deep = join(dir, "with,comma", "d".repeat(200), "e".repeat(200));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, "meta"), readFileSync(meta));
  writeFileSync(join(dir, "with,comma", "blob,ro"), readFileSync(blob));
  for (const backing of ["file", "loop"] as const) {
    mountErofs({
      metaPath: join(deep, "meta"),
      devicePaths: [join(dir, "with,comma", "blob,ro")],
      target,
      options: ["noacl"],
      backing,
    });
    checkAndUnmount();
  }
});

test("what is not an image is refused in both ways, and leaves no loop device", () => {
  const junk = join(dir, "junk");
  writeFileSync(junk, Buffer.alloc(8192, 1));
  assert.throws(
    () => mountErofs({ metaPath: junk, devicePaths: [], target }),
    (error) => error instanceof SysError && error.code === "EINVAL" && error.cause instanceof SysError,
  );
  assert.deepEqual(loopsOf(junk), []);
});

test("errors carry the kernel's message", () => {
  assert.throws(() => mountErofs({ metaPath: meta, devicePaths: [blob], target, options: ["nonsense"] }), {
    name: "SysError",
    code: "EINVAL",
    message: /nonsense/,
  });
  assert.throws(() => mountErofs({ metaPath: join(dir, "absent"), devicePaths: [], target }), { code: "ENOENT" });
  assert.throws(() => mount({ type: "nosuchfs", source: "none", target, options: [] }), { code: "ENODEV" });
  assert.throws(() => unmount(join(dir, "tree")), { code: "EINVAL", syscall: "umount2" });
});

test("mount passes attributes and options on", () => {
  mount({ type: "tmpfs", source: "none", target, options: ["size=8192"], attributes: ["nosuid", "noexec"] });
  mounted = true;
  const line = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .find((entry) => entry.includes(target));
  unmount(target);
  mounted = false;
  assert.match(line ?? "", /^none \S+ tmpfs rw,nosuid,noexec,relatime,size=8k/);
});

test("attachLoop gives a read-only device that goes away with its descriptor", () => {
  const loop = attachLoop(meta);
  assert.deepEqual(loopsOf(meta), [loop.path]);
  assert.deepEqual(readFileSync(loop.path).subarray(1024, 1028), Buffer.from([0xe2, 0xe1, 0xf5, 0xe0]));
  assert.throws(() => writeFileSync(loop.path, "x"));
  const flags = execFileSync("losetup", ["-nlO", "RO,AUTOCLEAR,DIO", loop.path], { encoding: "utf8" });
  assert.match(flags, /^\s*1\s+1\s+[01]\s*$/);
  closeSync(loop.fd);
  assert.deepEqual(loopsOf(meta), []);
  assert.throws(() => attachLoop(join(dir, "absent")), { name: "SysError", code: "ENOENT" });
});

test("the two-step configuration of kernels before 5.8 does the same", () => {
  const free = execFileSync("losetup", ["-f"], { encoding: "utf8" }).trim();
  const [device, file] = [openSync(free, "r"), openSync(meta, "r")];
  assert.equal(configureLoop(device, file, free, "two-step"), null);
  assert.deepEqual(loopsOf(meta), [free]);
  assert.match(execFileSync("losetup", ["-nlO", "RO,AUTOCLEAR", free], { encoding: "utf8" }), /^\s*1\s+1\s*$/);
  assert.equal(configureLoop(device, file, free)?.code, "EBUSY");
  closeSync(device);
  closeSync(file);
  assert.deepEqual(loopsOf(meta), []);
});
