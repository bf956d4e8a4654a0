import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { writeCpio } from "../../formats/cpio/index.ts";
import { S_IFREG } from "../../formats/tree/index.ts";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  startErofsify,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Guests of the lab's QEMU and kernel, by emulation where the machine has no KVM: a few seconds each.

const directory = tempDir();
const image = `oci:${directory}/layout:app`;
let env: Record<string, string>;

const PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
const GROUP = "root:x:0:\napp:x:1001:\naudio:x:29:app\nvideo:x:44:app\n";
const APPLETS = [
  "sh",
  "id",
  "env",
  "cat",
  "head",
  "printf",
  "sleep",
  "tty",
  "stty",
  "seq",
  "grep",
  "hostname",
  "touch",
];
const ENV = ["LANG=C.UTF-8", "QUOTES='\"$HOME`", "odd.name=a b", "EMPTY="];

before(async () => {
  const layer = [
    ...busyboxLayer(APPLETS),
    { name: "etc/", type: "5" },
    { name: "etc/passwd", content: PASSWD },
    { name: "etc/group", content: GROUP },
    { name: "bin/no-shebang", mode: 0o755, content: "\x00\x01\x02" },
    { name: "bin/not-executable", content: "text" },
  ];
  await writeOciLayout(join(directory, "layout"), "app", [buildTar(layer)], {
    User: "app",
    Env: ENV,
    WorkingDir: "/made/by the runtime",
    Entrypoint: ["sh", "-c"],
    Cmd: ["exit 1"],
  });
  env = { ...(await guestEnvironment()), EROFSIFY_STORE: join(directory, "store") };
});

const quietly = (...args: string[]) => ["run", "--quiet", "--timeout", "60", ...args];

/** A guest whose standard input is what this shell command prints. */
const guest = (args: string[], input = "true") =>
  erofsify(quietly(...args), { env, prefix: ["sh", "-c", `${input} | "$@"`, "sh"] });

test("identity, environment, arguments, input, output and exit status are the image's and the user's", async () => {
  const script = `
    id -u; id -g; id -G; pwd; hostname
    tr '\\0' '\\n' </proc/$$/environ
    printf '<%s>' "$@"; echo
    cat
    grep -c ' / ' /proc/mounts
    grep ' /image erofs' /proc/1/mounts
    cat /etc/hosts; touch /made/x 2>/dev/null || echo "not ours to write"
    echo "to stderr" >&2
    exit 42`;
  const odd = ["sh", "a b", "'", '"', "new\nline", "$HOME", "", "\\", "é"];
  const { status, stdout, stderr } = await guest([image, "--", script, ...odd], "printf 'in\\000put\\n'");
  assert.equal(stderr, "to stderr\n");
  const [uid, gid, groups, cwd, hostname, ...rest] = stdout.split("\n");
  assert.deepEqual([uid, gid, groups, cwd], ["1000", "1001", "1001 29 44", "/made/by the runtime"]);
  assert.match(hostname!, /^[0-9a-f]{12}$/);
  const environment = rest.splice(
    0,
    rest.findIndex((line) => line.startsWith("<")),
  );
  for (const entry of [...ENV, "HOME=/home/app", `HOSTNAME=${hostname}`])
    assert.ok(environment.includes(entry), `${entry} in ${environment.join(" ")}`);
  assert.equal(
    rest.join("\n").split("\nin\0put\n")[0],
    odd
      .slice(1)
      .map((arg) => `<${arg}>`)
      .join(""),
  );
  assert.match(stdout, /\n\/dev\/pmem0 \/image erofs ro,[^ ]*dax=always[^ ]* 0 0\n/);
  assert.match(stdout, /127\.0\.0\.1\tlocalhost\n(.*\n)*not ours to write\n$/);
  assert.equal(status, 42);
});

test("a signal reaches the command, whose status comes back; output before it is complete", async () => {
  const script = "trap 'echo caught; exit 9' TERM; seq 20000; echo ready; while :; do sleep 0.1; done";
  const { child, result } = startErofsify(quietly(image, "--", script), { env });
  child.stdout!.on("data", (chunk: Buffer) => {
    if (chunk.includes("ready")) child.kill("SIGTERM");
  });
  const { status, stdout } = await result;
  assert.equal(stdout, `${Array.from({ length: 20_000 }, (_, i) => i + 1).join("\n")}\nready\ncaught\n`);
  assert.equal(status, 9);
});

test("on a terminal the command has a terminal of the same size, and raw input", () => {
  // Python's pty module plays the terminal and its user.
  const script = `
import pty, os, sys, time, select, struct, fcntl, termios
pid, fd = pty.fork()
if pid == 0:
    time.sleep(0.3)
    os.execvp(sys.argv[1], sys.argv[1:])
size = lambda rows, columns: fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
size(33, 101)
out, step, start = b"", 0, time.time()
while time.time() - start < 60:
    if select.select([fd], [], [], 0.1)[0]:
        try: data = os.read(fd, 4096)
        except OSError: break
        out += data
    if step == 0 and b"ready" in out: os.write(fd, b"typed\\r"); step = 1
    if step == 1 and b"again" in out: size(44, 55); time.sleep(0.5); os.write(fd, b"\\x03"); step = 2
sys.stdout.buffer.write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
  const inGuest =
    "tty; stty size; echo ready; read line; echo \"got <$line>\"; trap 'stty size; exit 7' INT; echo again; while :; do sleep 0.1; done";
  const main = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
  const args = ["-c", script, process.execPath, main, ...quietly(image, "--", inGuest)];
  const { status, stdout } = spawnSync("python3", args, { env: { ...process.env, ...env, TERM: "xterm" } });
  assert.equal(
    stdout.toString().replaceAll("\r\n", "\n"),
    "/dev/hvc0\n33 101\nready\ntyped\ngot <typed>\nagain\n^C44 55\n",
  );
  assert.equal(status, 7);
});

test("what cannot be executed is told, with the status a shell would give", async () => {
  const config = async (tag: string, entrypoint: string[]) => {
    const layer = buildTar([...busyboxLayer(["sh"]), { name: "bin/text", content: "text" }]);
    await writeOciLayout(join(directory, tag), tag, [layer], { Entrypoint: entrypoint });
    return erofsify(quietly(`oci:${directory}/${tag}:${tag}`), { env });
  };
  const absent = await config("absent", ["no-such-program"]);
  assert.match(absent.stderr, /^erofsify: no-such-program: no such file or directory in the image\n$/);
  assert.equal(absent.status, 127);
  const text = await config("text", ["/bin/text"]);
  assert.match(text.stderr, /^erofsify: \/bin\/text: permission denied\n$/);
  assert.equal(text.status, 126);
});

test("--rw-size gives a disk for writes, --timings tells where the time went", async () => {
  const script = "grep ' /rw ext4' /proc/1/mounts";
  const { status, stdout, stderr } = await guest(["--rw-size", "64MiB", "--timings", image, "--", script]);
  assert.match(stdout, /^\/dev\/vda \/rw ext4 rw/);
  const [, ...parts] =
    /first output after ([\d.]+) s: erofsify ([\d.]+) s, QEMU \(\w+\) ([\d.]+) s, kernel ([\d.]+) s, mounts ([\d.]+) s, command ([\d.]+) s/.exec(
      stderr,
    ) ?? [];
  const [total = 0, ...rest] = parts.map(Number);
  assert.ok(Math.abs(total - rest.reduce((a, b) => a + b, 0)) < 0.06, stderr);
  assert.equal(status, 0);
});

test("a guest that cannot start the image says why", async () => {
  // The printed command names an initramfs; what is appended to it takes the place of what it has.
  const printed = await erofsify(["run", "--print", "--quiet", image], { env });
  const [, path] = /-initrd (\S+)/.exec(printed.stdout) ?? [];
  const initrd = join(directory, "initrd");
  const runWith = (replaced: string) => {
    const nothing = writeCpio([{ path: replaced, mode: S_IFREG | 0o644 }]);
    writeFileSync(initrd, Buffer.concat([readFileSync(path!), nothing]));
    return guest(["--initrd", initrd, image]);
  };
  const noFolder = await runWith("image");
  assert.match(
    noFolder.stderr,
    /^erofsify: the guest could not start the image: mounting the image: .*Not a directory\n/,
  );
  assert.equal(noFolder.status, 125);
  const [firstModule] = /modules\/00-\w+\.ko/.exec(readFileSync(path!, "latin1"))!;
  const noModule = await runWith(firstModule);
  assert.match(noModule.stderr, /^erofsify: the guest ended without an exit status\nthe kernel said:\n/);
  assert.ok(noModule.stderr.includes(`erofsify: the guest's /init: loading /${firstModule} failed`), noModule.stderr);
  assert.equal(noModule.status, 125);
});

test("after --timeout the guest is ended with status 124", async () => {
  const { status, seconds } = await erofsify(["run", "-q", "--timeout", "2", image, "--", "sleep 100"], { env });
  assert.equal(status, 124);
  assert.ok(seconds < 20, `${seconds} s`);
});

test("the printed command starts the same guest by hand; what a volume's server is told of it is so", async () => {
  const script = "tty; id -u; grep -c dax=always /proc/1/mounts; exit 3";
  const printed = await erofsify(["run", "--print", "--quiet", image, "--", script], { env });
  assert.equal(printed.status, 0, printed.stderr);
  const places = await erofsify(["vmm-args", "--vmm", "qemu", "--guest-memory", "--quiet", image], { env });
  const paths = [...printed.stdout.matchAll(/mem-path=([^,]+),/g)].map(([, path]) => path);
  const addresses = [...printed.stdout.matchAll(/memaddr=([^,]+),/g)].map(([, address]) => address);
  assert.ok(paths.length > 1);
  assert.equal(places.stdout, paths.map((path, i) => `--guest-memory ${addresses[i]}=${path}\n`).join(""));
  const other = await erofsify(["vmm-args", "--vmm", "firecracker", "--guest-memory", "--quiet", image], { env });
  assert.match(other.stderr, /where firecracker places an image's files is not known/);
  assert.equal(other.status, 2);
  const { stdout } = spawnSync("timeout", ["60", "sh", "-c", printed.stdout], { env: { ...process.env, ...env } });
  assert.equal(
    stdout.toString().replaceAll("\r\n", "\n"),
    "/dev/console\n1000\n1\nerofsify: the command ended with status 3\n",
  );
});
