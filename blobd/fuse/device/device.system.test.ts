import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { unmount, viewMemory } from "../../sys/index.ts";
import { FuseMount, findFuseMount } from "./index.ts";

const execute = promisify(execFile);
/** Whatever asks a mount does so in another process, and not for ever. */
const LIMIT_S = "20";

async function sh(script: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute("timeout", ["-s", "KILL", LIMIT_S, "bash", "-euc", script, "bash", ...args]);
  return stdout;
}
async function fails(script: string, ...args: string[]): Promise<string> {
  return await sh(script, ...args).then(
    () => assert.fail(`${script} succeeded`),
    (error: { stderr: string }) => error.stderr,
  );
}

function mountPoint(t: TestContext): string {
  const target = mkdtempSync(join(tmpdir(), "fuse-device-"));
  t.after(() => {
    if (findFuseMount(target) !== null) unmount(target, { lazy: true });
    rmdirSync(target);
  });
  return target;
}

const source = (open: string, threads = 1, shared = new SharedArrayBuffer(4)) => ({
  module: new URL("../testing/memory-file-system.js", import.meta.url).href,
  open,
  args: [shared, threads],
});

async function mounted(t: TestContext, open = "openMemoryFileSystem", threads = 1, shared = new SharedArrayBuffer(4)) {
  const log: string[] = [];
  const target = mountPoint(t);
  const mount = await FuseMount.start({
    target,
    source: "a source, with a comma",
    threads,
    log: (line) => log.push(line),
    fileSystem: source(open, threads, shared),
  });
  t.after(() => mount.abort());
  return { mount, target, log };
}

test("files are made, written, read, listed and removed through the kernel", async (t) => {
  const { mount, target, log } = await mounted(t);
  const output = await sh(
    `cd "$1"; mkdir d; printf hello > d/f; head -c 5000001 /dev/zero | tr '\\0' x > big
     cat d/f; wc -c < big; tr -d x < big | wc -c; ls; rm big; rm d/f; rmdir d; ls | wc -l`,
    target,
  );
  assert.equal(output, "hello5000001\n0\nbig\nd\n0\n");
  const [line] = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((each) => each.includes(target));
  assert.match(line!, /^a\\040source,\\040with\\040a\\040comma .* fuse\.blobd rw,nosuid,nodev,.*default_permissions/);
  const { connection } = findFuseMount(target)!;
  assert.equal(readFileSync(`/sys/class/bdi/0:${connection}/read_ahead_kb`, "latin1"), "1024\n");
  await mount.unmount("fail");
  assert.equal(findFuseMount(target), null);
  assert.deepEqual(log, []);
});

test("a file opened with O_DIRECT is served in whole and odd pieces", async (t) => {
  const { target } = await mounted(t);
  const sums = await sh(
    `cd "$1"; head -c 3145728 /dev/urandom > f
     md5sum < f; dd if=f iflag=direct bs=1M status=none | md5sum; dd if=f iflag=direct bs=4k status=none | md5sum
     dd if=f of=g oflag=direct bs=512k status=none; md5sum < g`,
    target,
  );
  assert.equal(new Set(sums.trim().split("\n")).size, 1);
});

test("a handler's mistake is an error of that call, and the mount lives on", async (t) => {
  const { target, log } = await mounted(t);
  assert.match(await fails(`: > "$1/crash"`, target), /Input\/output error/);
  assert.match(log.join(), /CREATE answered with EIO: TypeError: a mistake in a handler/);
  assert.equal(await sh(`echo x > "$1/f"; cat "$1/f"`, target), "x\n");
});

test("a request that waits is interrupted by a signal; others are served meanwhile", async (t) => {
  const { target } = await mounted(t);
  const output = await sh(
    `cd "$1"; : > f; touch wait; (exec cat wait) & sleep 0.3; echo busy > f; cat f
     kill -INT $! || true; wait $! && echo opened || echo "interrupted $?"; : < f`,
    target,
  );
  // 130: SIGINT. bash starts background jobs with SIGINT ignored, so cat is ended by what it got: EINTR, or the signal.
  assert.match(output, /^busy\ninterrupted (1|130)\n$/);
});

test("threads share the requests of a mount", async (t) => {
  const { target } = await mounted(t, "openThreadFileSystem", 4);
  // Each open waits until all four threads hold one.
  const output = await sh(`cd "$1"; for i in 1 2 3 4; do cat together & done; wait; echo done`, target);
  assert.equal(output, "done\n");
});

test("a busy mount is left, detached or aborted, as is asked", async (t) => {
  const { mount, target } = await mounted(t);
  await sh(`echo x > "$1/f"`, target);
  const holder = spawn("bash", ["-c", `exec 3< "$1/f"; echo open; read -r; cat <&3; echo "status $?"`, "bash", target]);
  t.after(() => holder.kill("SIGKILL"));
  const output: string[] = [];
  holder.stdout.on("data", (data) => output.push(String(data)));
  const closed = once(holder, "close");
  await once(holder.stdout, "data");
  await assert.rejects(mount.unmount("fail"), { code: "EBUSY" });
  assert.equal(await sh(`cat "$1/f"`, target), "x\n");
  const detached = mount.unmount("detach");
  while (findFuseMount(target) !== null) await new Promise((resolve) => setTimeout(resolve, 20));
  await assert.rejects(sh(`cat "$1/f"`, target));
  holder.stdin.end("go\n"); // It may still read what it has open, and when it is done the mount is.
  await detached;
  await closed;
  assert.equal(output.join(""), "open\nx\nstatus 0\n");
});

test("a server that hangs does not hold its callers once it is aborted", async (t) => {
  const { mount, target } = await mounted(t, "openThreadFileSystem", 1);
  const stuck = spawn("cat", [join(target, "hang")], { stdio: "ignore" });
  t.after(() => stuck.kill("SIGKILL"));
  const ended = once(stuck, "close");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(stuck.exitCode, null);
  const startMs = performance.now();
  await mount.abort();
  assert.deepEqual(await ended, [1, null]);
  assert.ok(performance.now() - startMs < 8000);
  assert.equal(findFuseMount(target), null);
});

test("an abort that comes too late leaves the mount alone that has the connection's number by now", async (t) => {
  // Linux gives the lowest free number, which somebody else on this machine may take in between.
  const numberOf = ({ target }: { target: string }) => findFuseMount(target)!.connection;
  const pair = async () => {
    const first = await mounted(t);
    const number = numberOf(first);
    await first.mount.unmount("detach");
    const second = await mounted(t);
    return { first, second, isSame: numberOf(second) === number };
  };
  let { first, second, isSame } = await pair();
  for (let tries = 0; !isSame && tries < 20; tries++) ({ first, second, isSame } = await pair());
  assert.ok(isSame, "Linux gave no number a second time");
  await first.mount.abort();
  assert.equal(await sh(`echo x > "$1/f"; cat "$1/f"`, second.target), "x\n");
});

test("a file system that cannot be opened mounts nothing", async (t) => {
  const target = mountPoint(t);
  const start = (fileSystem: ReturnType<typeof source>, threads = 2) =>
    FuseMount.start({ target, source: "x", threads, log: () => {}, fileSystem });
  await assert.rejects(start(source("openNothing")), /is not a function/);
  await assert.rejects(start({ module: "file:///absent.js", open: "x", args: [] }), /absent\.js/);
  await assert.rejects(start(source("openMemoryFileSystem"), 0), RangeError);
  assert.equal(findFuseMount(target), null);
  await assert.rejects(
    FuseMount.start({
      target: join(target, "absent"),
      source: "x",
      threads: 1,
      log: () => {},
      fileSystem: source("openMemoryFileSystem"),
    }),
    { code: "ENOENT" },
  );
});

test("notifications: the kernel looks again at what it has cached", async (t) => {
  const shared = new SharedArrayBuffer(4);
  const version = new Int32Array(shared);
  version[0] = 1;
  const { mount, target } = await mounted(t, "openCachedFileSystem", 2, shared);
  const { notifier } = mount;
  const cat = () => sh(`cat "$1/version"`, target);
  const name = Buffer.from("version");
  const writing = (text: string) => (address: number) => Buffer.from(viewMemory(address, text.length)).write(text);
  assert.equal(await cat(), "1");
  version[0] = 2;
  assert.equal(await cat(), "1", "cached");
  assert.equal(notifier.invalidateNode(2, 0, 0), 0);
  assert.equal(await cat(), "2");
  assert.equal(notifier.store(2, 0, 1, writing("7")), 0);
  assert.equal(await cat(), "7", "the page cache holds what was stored");
  version[0] = 0;
  assert.equal(await cat(), "7", "the name is cached");
  assert.equal(notifier.invalidateEntry(1, name), 0);
  assert.match(await fails(`cat "$1/version"`, target), /No such file/);
  version[0] = 3;
  assert.equal(await cat(), "3", "found again, as a new node");
  assert.equal(notifier.deleted(1, 2, name), 0);
  version[0] = 0;
  assert.match(await fails(`cat "$1/version"`, target), /No such file/);
  assert.ok(notifier.invalidateNode(99, 0, 0) < 0, "a node that the kernel does not know");
  assert.ok(notifier.invalidateEntry(1, Buffer.alloc(0)) < 0);
  assert.ok(notifier.store(2, 0, (1 << 20) + 1, writing("7")) < 0);
});

/** A process that serves a mount until it is killed. */
async function serverProcess(t: TestContext, target: string, args: string[] = []): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("./testing-server.js", import.meta.url)), target, ...args],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  return child;
}

test("kill -9 of the server: no caller hangs, and the next server takes the place", async (t) => {
  const target = mountPoint(t);
  const server = await serverProcess(t, target);
  await sh(`echo x > "$1/f"; touch "$1/wait"`, target);
  const waiting = fails(`cat "$1/wait"`, target);
  await new Promise((resolve) => setTimeout(resolve, 200));
  server.kill("SIGKILL");
  assert.match(await waiting, /connection abort|not connected/i);
  assert.match(await fails(`ls "$1"`, target), /not connected/);
  const next = await serverProcess(t, target);
  assert.equal(await sh(`echo y > "$1/g"; cat "$1/g"`, target), "y\n");
  assert.equal(readFileSync("/proc/mounts", "utf8").split(target).length, 2, "the dead mount is gone");
  next.kill("SIGKILL");
  await once(next, "close");
});

test("a server that ends by process.exit() does not hang in its own threads", async (t) => {
  const target = mountPoint(t);
  const server = await serverProcess(t, target, ["exit"]);
  const [code] = await once(server, "close");
  assert.equal(code, 7);
  assert.equal(findFuseMount(target), null);
});

test("a user who is not root mounts through fusermount3, and only that user gets in", async (t) => {
  const target = mountPoint(t);
  const server = fileURLToPath(new URL("./testing-server.js", import.meta.url));
  // /dev/fuse as it is on common systems, open to all, for this test's namespace only.
  const output = await execute("unshare", [
    "--mount",
    "timeout",
    "-s",
    "KILL",
    LIMIT_S,
    "bash",
    "-euc",
    `device=$(mktemp -u "$1".XXXX); mknod -m 666 "$device" c 10 229; mount --bind "$device" /dev/fuse; rm "$device"
     chown 65534:65534 "$1"; user="setpriv --reuid 65534 --regid 65534 --clear-groups"
     coproc $user "$2" "$3" "$1"; read -r line <&"\${COPROC[0]}"; echo "$line"
     grep -F "$1" /proc/mounts | grep -o "fuse.blobd.*"; $user ls -a "$1"; ls "$1" || true
     $user fusermount3 -u "$1"; wait "$COPROC_PID"; echo "ended $?"`,
    "bash",
    target,
    process.execPath,
    server,
  ]);
  assert.match(output.stdout, /^mounted\nfuse\.blobd .*user_id=65534.*\nended 0\n$/);
  assert.match(output.stderr, /Permission denied/);
});
