import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, lstatSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { flock, listXattrs, mknod, SysError, setTimes, setXattr, tryFlock, unlockFlock } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "sys-files-"));
after(() => rmSync(dir, { recursive: true }));
const inDir = (name: string) => join(dir, name);

test("an exclusive flock excludes other descriptors until it is given back", async () => {
  writeFileSync(inDir("lock"), "");
  const a = openSync(inDir("lock"), "r");
  const b = openSync(inDir("lock"), "r");
  assert.equal(tryFlock(a, "exclusive"), true);
  assert.equal(tryFlock(b, "shared"), false);
  const waiting = flock(b, "exclusive");
  const first = await Promise.race([
    waiting.then(() => "locked"),
    new Promise((done) => setTimeout(done, 20, "waits")),
  ]);
  assert.equal(first, "waits");
  unlockFlock(a);
  await waiting;
  assert.equal(tryFlock(a, "shared"), false);
  unlockFlock(b);
  assert.equal(tryFlock(a, "shared"), true);
  assert.equal(tryFlock(b, "shared"), true);
  closeSync(a);
  closeSync(b);
});

test("waiting for a lock held by another process ends when that process dies, or by the signal", async () => {
  writeFileSync(inDir("lock2"), "");
  const holder = spawn("flock", ["--no-fork", inDir("lock2"), "sh", "-c", "echo locked; exec sleep 60"]);
  await once(holder.stdout, "data");
  const fd = openSync(inDir("lock2"), "r");
  await assert.rejects(flock(fd, "exclusive", { signal: AbortSignal.timeout(30) }), { name: "AbortError" });
  await assert.rejects(flock(fd, "exclusive", { signal: AbortSignal.abort() }), { name: "AbortError" });
  const waiting = flock(fd, "exclusive");
  holder.kill("SIGKILL");
  await waiting;
  closeSync(fd);
});

test("flock of a closed descriptor is a SysError", () => {
  const fd = openSync(dir, "r");
  closeSync(fd);
  assert.throws(() => tryFlock(fd, "shared"), { name: "SysError", code: "EBADF", syscall: "flock" });
});

test("binary xattrs come back as set, sorted, also on names that are not UTF-8", () => {
  const path = Buffer.concat([Buffer.from(inDir("x")), Buffer.from([0xff, 0x2c])]);
  writeFileSync(path, "");
  const value = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
  setXattr(path, "user.b", value);
  setXattr(path, "user.a", "");
  setXattr(path, "trusted.\xe9", "\0");
  setXattr(path, "security.capability", "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
  assert.deepEqual(
    listXattrs(path).map(({ name }) => name),
    ["security.capability", "trusted.\xe9", "user.a", "user.b"],
  );
  assert.equal(listXattrs(path)[1]?.value, "\0");
  assert.equal(listXattrs(path)[2]?.value, "");
  assert.equal(listXattrs(path)[3]?.value, value);
});

test("xattrs of a symlink are the link's own", () => {
  writeFileSync(inDir("file"), "");
  setXattr(inDir("file"), "user.on-file", "1");
  symlinkSync("file", inDir("link"));
  assert.deepEqual(listXattrs(inDir("link")), []);
  setXattr(inDir("link"), "trusted.on-link", "2");
  assert.deepEqual(listXattrs(inDir("link")), [{ name: "trusted.on-link", value: "2" }]);
  assert.equal(listXattrs(inDir("file")).length, 1);
});

test("a file system without xattrs has none", () => assert.deepEqual(listXattrs("/proc/self/status"), []));

test("errors name the call, the code and the path", () => {
  assert.throws(
    () => listXattrs(inDir("absent")),
    (error) =>
      error instanceof SysError &&
      error.code === "ENOENT" &&
      error.errno === 2 &&
      error.syscall === "llistxattr" &&
      error.path === inDir("absent") &&
      error.message === `llistxattr '${inDir("absent")}': ENOENT: no such file or directory`,
  );
  assert.throws(() => listXattrs("/tmp/a\0b"), { code: "EINVAL", syscall: "llistxattr" });
});

test("mknod makes devices with large numbers, and fifos", () => {
  mknod(inDir("dev"), 0o020640, { major: 0xabc, minor: 0xfedcb });
  const shown = execFileSync("stat", ["-c", "%F %t %T", inDir("dev")], { encoding: "utf8" });
  assert.equal(shown, "character special file abc fedcb\n");
  mknod(inDir("fifo"), 0o010600);
  assert.ok(lstatSync(inDir("fifo")).isFIFO());
  assert.throws(() => mknod(inDir("fifo"), 0o010600), { code: "EEXIST" });
});

test("setTimes sets nanoseconds, times before 1970, and links themselves", () => {
  symlinkSync("nowhere", inDir("dangling"));
  setTimes(inDir("dangling"), { seconds: 5, nanos: 6 }, { seconds: -2, nanos: 123456789 });
  const { mtimeNs, atimeNs } = lstatSync(inDir("dangling"), { bigint: true });
  assert.equal(atimeNs, 5_000_000_006n);
  assert.equal(mtimeNs, -1_876_543_211n);
});
