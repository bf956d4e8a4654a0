import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { findFuseMount } from "../fuse/device/index.ts";
import { unmount } from "../sys/index.ts";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const execute = promisify(execFile);

async function blobd(...args: string[]) {
  return await execute(process.execPath, [MAIN, ...args]).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ ...error, status: error.code }),
  );
}

function folders(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), "blobd-cli-"));
  const [source, target] = [join(directory, "source"), join(directory, "target")];
  chmodSync(directory, 0o755);
  mkdirSync(source);
  mkdirSync(target);
  t.after(() => {
    if (findFuseMount(target) !== null) unmount(target, { lazy: true });
    rmSync(directory, { recursive: true });
  });
  return { source, target };
}

/** Starts `blobd passthrough` and waits until it serves. */
async function serve(t: TestContext, ...options: string[]) {
  const { source, target } = folders(t);
  return { source, target, ...(await start(t, "passthrough", ...options, source, target)) };
}

/** Starts a command that serves, and waits for what it then says. */
async function start(t: TestContext, ...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let log = "";
  child.stderr.on("data", (data) => {
    log += String(data);
  });
  const ended = once(child, "close");
  const [line] = (await Promise.race([once(child.stdout, "data"), ended.then(() => assert.fail(log))])) as [Buffer];
  return { child, ended, line: line.toString(), log: () => log };
}

const sh = (script: string, ...args: string[]) =>
  execute("timeout", ["-s", "KILL", "20", "bash", "-euc", script, "bash", ...args]).then(({ stdout }) => stdout);

const VIRTIOFS = ["virtiofs", "--socket-path", "/tmp/never.sock", "--shared-dir", "/tmp", "--tag", "t"];
const CASES: readonly [args: readonly string[], status: number, says: RegExp][] = [
  [["--nope"], 2, /unknown option '--nope' \(try blobd --help\)/],
  [["passthrough"], 2, /missing required argument 'source'/],
  [["passthrough", "/absent", "/tmp"], 2, /\/absent: there is no such directory/],
  [["passthrough", "/etc/passwd", "/tmp"], 2, /\/etc\/passwd: is no directory/],
  [["passthrough", "/tmp", "/tmp"], 2, /\/tmp: is the directory that is to be served/],
  [["passthrough", "--cache", "some", "/usr", "/tmp"], 2, /'some' is invalid. Allowed choices are never, metadata/],
  [["passthrough", "--threads", "0", "/usr", "/tmp"], 2, /--threads 0: expected a number from 1 to 64/],
  [["passthrough", "--attr-timeout", "soon", "/usr", "/tmp"], 2, /--attr-timeout soon: expected seconds/],
  [["passthrough", "--uid-map", "0:1", "/usr", "/tmp"], 2, /--uid-map 0:1: expected guest:host:count/],
  [["passthrough", "--uid-map", "0:0:9", "--uid-map", "5:50:9", "/usr", "/tmp"], 2, /uidMap: ranges overlap/],
  [["passthrough", "--writeback", "--cache", "never", "/usr", "/tmp"], 2, /writeback needs/],
  [["passthrough", "--no-open", "/usr", "/tmp"], 2, /noOpen is for read-only exports with cache always/],
  [["passthrough", "--xattr-map", "nonsense", "/usr", "/tmp"], 2, /xattrMap|rule/],
  [[...VIRTIOFS, "--guest-memory", "here=/usr"], 2, /--guest-memory here=\/usr: expected ADDRESS=FILE/],
  [[...VIRTIOFS, "--guest-memory", "0x1000=/usr"], 2, /guest memory 0x1000=\/usr: expected a multiple of 2 MiB/],
  [[...VIRTIOFS, "--guest-memory", "0x200000=/usr"], 2, /0x200000=\/usr: is no regular file/],
  [["passthrough", "--log-level", "loud", "/usr", "/tmp"], 2, /Allowed choices are trace/],
];
for (const [args, status, says] of CASES)
  test(`blobd ${args.join(" ")}`, async () => {
    const result = await blobd(...args);
    assert.match(result.stderr, says);
    assert.match(result.stderr, /^blobd: [^\n]+\n$/, "one line");
    assert.equal(result.status, status);
    assert.equal(result.stdout, "");
  });

test("--help shows examples, --version a version", async () => {
  const help = await blobd("passthrough", "--help");
  assert.match(help.stdout, /--cache.*Examples.*umount/s);
  assert.equal(help.status, 0);
  assert.match((await blobd("--version")).stdout, /^\d+\.\d+\.\d+\n$/);
});

test("a directory is served until it is unmounted", async (t) => {
  const { source, target, ended, line, log } = await serve(t, "--json");
  const { pid, ...rest } = JSON.parse(line);
  assert.deepEqual(rest, { source, target });
  assert.ok(pid > 0);
  writeFileSync(join(source, "there"), "before");
  const output = await sh(
    `cd "$1"; cat there; echo new > f; mkdir d; chmod 751 d; ls; umount "$1" || { cd /; umount "$1"; }`,
    target,
  );
  assert.equal(output, "befored\nf\nthere\n");
  assert.deepEqual(await ended, [0, null]);
  assert.equal(readFileSync(join(source, "f"), "utf8"), "new\n");
  assert.equal(statSync(join(source, "d")).mode & 0o7777, 0o751);
  for (const each of log().trim().split("\n")) assert.equal(typeof JSON.parse(each).msg, "string");
});

test("SIGTERM unmounts; in use it is detached, and served until the user is done", async (t) => {
  const idle = await serve(t);
  idle.child.kill("SIGTERM");
  assert.deepEqual(await idle.ended, [0, null]);
  assert.equal(findFuseMount(idle.target), null);

  const busy = await serve(t, "--log-level", "silent");
  writeFileSync(join(busy.source, "f"), "content");
  const holder = spawn("bash", ["-c", `exec 3< "$1/f"; echo open; read -r; cat <&3`, "bash", busy.target]);
  t.after(() => holder.kill("SIGKILL"));
  await once(holder.stdout, "data");
  busy.child.kill("SIGTERM");
  const { promise, resolve } = pending();
  const poll = setInterval(() => findFuseMount(busy.target) === null && resolve(), 20);
  await promise;
  clearInterval(poll);
  assert.equal(busy.child.exitCode, null, "it still serves");
  holder.stdin.end("\n");
  const [data] = (await once(holder.stdout, "data")) as [Buffer];
  assert.equal(data.toString(), "content");
  assert.deepEqual(await busy.ended, [0, null]);
  assert.equal(busy.log(), "");
});

test("a second signal aborts: whoever still uses it gets errors", async (t) => {
  const { source, target, child, ended } = await serve(t);
  writeFileSync(join(source, "f"), "content");
  const holder = spawn("bash", ["-c", `exec 3< "$1/f"; echo open; read -r; cat <&3; echo "status $?"`, "bash", target]);
  t.after(() => holder.kill("SIGKILL"));
  await once(holder.stdout, "data");
  child.kill("SIGTERM");
  while (findFuseMount(target) !== null) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGTERM");
  assert.deepEqual(await ended, [0, null]);
  holder.stdin.end("\n");
  const [data] = (await once(holder.stdout, "data")) as [Buffer];
  assert.equal(data.toString(), "status 1\n");
});

test("--read-only, and --allow-other by default for root", async (t) => {
  const { source, target, child, ended } = await serve(t, "--read-only", "--cache", "always", "--threads", "3");
  writeFileSync(join(source, "f"), "content");
  const output = await sh(
    `setpriv --reuid 65534 --regid 65534 --clear-groups cat "$1/f"; : > "$1/g" || echo refused; grep -c "$1.*ro,nosuid" /proc/mounts`,
    target,
  );
  assert.equal(output, "contentrefused\n1\n");
  child.kill("SIGINT");
  assert.deepEqual(await ended, [0, null]);
});

function pending() {
  let resolve!: () => void;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

test("a user who is not root serves a directory of their own", async (t) => {
  const { source, target } = folders(t);
  const { stdout } = await execute("unshare", [
    "--mount",
    "timeout",
    "-s",
    "KILL",
    "20",
    "bash",
    "-euc",
    `device=$(mktemp -u "$1".XXXX); mknod -m 666 "$device" c 10 229; mount --bind "$device" /dev/fuse; rm "$device"
     chown 65534:65533 "$1" "$2"; user="setpriv --reuid 65534 --regid 65533 --clear-groups"
     coproc $user "$3" "$4" passthrough --log-level silent "$1" "$2"; served=$COPROC_PID; read -r line <&"\${COPROC[0]}"
     $user bash -euc 'cd "$1"; echo hi > f; mkdir d; mv f d; chmod 700 d; ln -s d/f l; cat l; stat -c "%u %g %A" d d/f' bash "$2"
     $user fusermount3 -u "$2"; wait "$served"; echo "ended $?"`,
    "bash",
    source,
    target,
    process.execPath,
    MAIN,
  ]);
  assert.equal(stdout, "hi\n65534 65533 drwx------\n65534 65533 -rw-r--r--\nended 0\n");
  assert.equal(readFileSync(join(source, "d", "f"), "utf8"), "hi\n");
});

test("a virtio-fs device that nobody connects to says that it begins and that it stops, and nothing else", async (t) => {
  const { source } = folders(t);
  const socket = join(source, "..", "socket");
  const { child, ended, log } = await start(
    t,
    "virtiofs",
    "--socket-path",
    socket,
    "--shared-dir",
    source,
    "--tag",
    "t",
  );
  // Its thread rehearses meanwhile, on a directory of its own.
  await sleep(1000);
  child.kill("SIGTERM");
  await ended;
  const told = log()
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { msg: string }).msg);
  assert.equal(told.length, 2, log());
  assert.equal(told[1], "stopping");
});
