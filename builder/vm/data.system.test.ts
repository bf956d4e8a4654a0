import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { RESULT, X86_64_CALLS as SYS, SyscallProgram } from "../../formats/elf/index.ts";
import {
  buildTar,
  busyboxLayer,
  edgeLayers,
  erofsify,
  guestEnvironment,
  run,
  startErofsify,
  tempDir,
  unpackWithUmoci,
  writeOciLayout,
} from "../testkit/index.ts";

// What only a guest can show of an image: that its data is right, mapped rather than copied, and shared.

const MIB = 1 << 20;
const BIG_BYTES = 40 * MIB;
const MAPPED_BYTES = 4 * MIB;

const directory = tempDir();
const image = `oci:${directory}/layout:data`;
let env: Record<string, string>;

/** Bytes without a pattern that repeats. */
function noise(length: number): Buffer {
  const block = 32;
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += block) createHash("sha256").update(String(at)).digest().copy(bytes, at);
  return bytes;
}

/** A program that maps the first bytes of /big and writes them to its standard output. */
function mapper(): Buffer {
  const mmap = 9;
  const failed = (what: string, status: number) => [{ message: `${what} failed\n`, status }];
  return new SyscallProgram()
    .call(SYS.open, [Buffer.from("/big\0"), 0, 0], failed("open", 1))
    .call(mmap, [0, MAPPED_BYTES, 1, 1, RESULT, 0], failed("mmap", 2))
    .call(SYS.write, [1, RESULT, MAPPED_BYTES], failed("write", 3))
    .exit(0)
    .build();
}

const APPLETS = [
  "sh",
  "find",
  "sha256sum",
  "grep",
  "mount",
  "cat",
  "cut",
  "mknod",
  "dd",
  "echo",
  "sleep",
  "ls",
  "true",
];

before(async () => {
  const top = [
    ...busyboxLayer(APPLETS),
    // A root that cannot be written needs its mount points.
    ...["dev/", "proc/", "sys/", "tmp/"].map((name) => ({ name, type: "5" })),
    { name: "big", content: noise(BIG_BYTES) },
    { name: "mapper", mode: 0o755, content: mapper() },
  ];
  const layers = [...edgeLayers(), top].map(buildTar);
  await writeOciLayout(join(directory, "layout"), "data", layers, { Cmd: ["sh"] });
  env = { ...(await guestEnvironment()), EROFSIFY_STORE: join(directory, "store") };
});

const options = ["run", "--quiet", "--timeout", "120"];

test("every file is right, is mapped by DAX without a copy, large ones by huge pages, and cannot be written", async (t) => {
  const script = `
    set -e
    cached() { grep -w Cached /proc/meminfo | grep -o '[0-9]*'; }
    tracing=/sys/kernel/tracing
    mount -t tracefs tracefs $tracing
    echo 1 >$tracing/events/fs_dax/enable
    /mapper | sha256sum
    for kind in pmd pte; do echo "$kind $(grep -c "mapper-.*dax_\${kind}_fault_done.*NOPAGE" $tracing/trace || true)"; done
    echo 0 >$tracing/events/fs_dax/enable
    echo "cached $(cached)"
    cd /
    find . -xdev -type f -exec sha256sum {} +
    echo "cached $(cached)"
    for device in /sys/block/pmem*; do
      name=\${device##*/}
      mknod /tmp/$name b $(cut -d: -f1 $device/dev) $(cut -d: -f2 $device/dev)
      echo "written by the guest" | dd of=/tmp/$name conv=fsync,notrunc 2>/dev/null || true
    done
    echo done`;
  const { status, stdout, stderr } = await erofsify([...options, "--read-only", image, "--", "sh", "-c", script], {
    env,
  });
  assert.equal(stderr, "");
  assert.equal(status, 0);
  const lines = stdout.split("\n").slice(0, -1);
  const [mapped, pmd, pte, before] = lines.splice(0, 4);

  const expectedMapped = createHash("sha256").update(noise(BIG_BYTES).subarray(0, MAPPED_BYTES)).digest("hex");
  assert.equal(mapped, `${expectedMapped}  -`);
  assert.equal(pmd, "pmd 2", "4 MiB in two faults");
  // Those of the program itself; without huge pages it would be over a thousand.
  assert.ok(Number(pte!.split(" ")[1]) < 100, pte);

  assert.equal(lines.pop(), "done");
  const growth = Number(lines.pop()!.split(" ")[1]) - Number(before!.split(" ")[1]);
  t.diagnostic(`${lines.length} lines of digests; the guest's Cached grew by ${growth} kB`);
  assert.ok(growth < 8 * 1024, `Cached grew by ${growth} kB while more than ${BIG_BYTES} bytes were read`);

  const root = await unpackWithUmoci(join(directory, "layout"), "data", join(directory, "unpacked"));
  const expected = await run(
    "busybox",
    ["find", ".", "-xdev", "-type", "f", "-exec", "busybox", "sha256sum", "{}", "+"],
    {
      cwd: root,
    },
  );
  assert.deepEqual(lines.sort(), expected.stdout.split("\n").slice(0, -1).sort());
  assert.ok(lines.length > 350, `${lines.length} lines`);

  const check = await erofsify(["check", image], { env });
  assert.equal(check.status, 0, check.stdout + check.stderr);
});

/** Bytes of the files below `folder` that processes have mapped, by process: resident, and shared out among those who map. */
function mappings(folder: string): { rss: number; pss: number }[] {
  const found: { rss: number; pss: number }[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const sum = { rss: 0, pss: 0 };
    let ours = false;
    for (const line of smaps(pid)) {
      if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) ours = line.includes(folder);
      const [, name, kibibytes] = /^(Rss|Pss):\s+(\d+) kB/.exec(line) ?? [];
      if (ours && name === "Rss") sum.rss += Number(kibibytes) * 1024;
      if (ours && name === "Pss") sum.pss += Number(kibibytes) * 1024;
    }
    if (sum.rss > 0) found.push(sum);
  }
  return found;
}

function smaps(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n");
  } catch {
    return []; // It has ended.
  }
}

/** What the kernel has of the host's memory in page cache and mapped files, in kB. */
function meminfo(): string {
  const text = readFileSync("/proc/meminfo", "utf8");
  return ["Cached", "Mapped", "MemAvailable"]
    .map((name) => `${name} ${new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1]} kB`)
    .join(", ");
}

test("guests on the same image share its data in the host's memory", async (t) => {
  const store = join(directory, "store/blobs");
  const guests: ReturnType<typeof startErofsify>[] = [];
  const start = () => {
    const guest = startErofsify([...options, image, "--", "sh", "-c", "cat /big | sha256sum; exec sleep 1000"], {
      env,
    });
    guests.push(guest);
    return new Promise<void>((resolve, reject) => {
      guest.child.stdout!.once("data", () => resolve());
      void guest.result.then(({ stderr }) => reject(new Error(stderr)));
    });
  };
  t.diagnostic(`before: ${meminfo()}`);
  for (const count of [2, 4]) {
    await Promise.all(Array.from({ length: count - guests.length }, start));
    const found = mappings(store);
    const rss = found.reduce((sum, mapping) => sum + mapping.rss, 0);
    const pss = found.reduce((sum, mapping) => sum + mapping.pss, 0);
    t.diagnostic(
      `${count} guests: ${(rss / MIB).toFixed(1)} MiB of the image mapped, ${(pss / MIB).toFixed(1)} MiB in memory; ${meminfo()}`,
    );
    assert.equal(found.length, count);
    for (const mapping of found) assert.ok(mapping.rss >= BIG_BYTES, `one guest maps ${mapping.rss} bytes`);
    const all = readdirSync(join(store, "sha256")).reduce(
      (sum, name) => sum + statSync(join(store, "sha256", name)).size,
      0,
    );
    assert.ok(pss <= all, `${pss} bytes in memory for an image of ${all}`);
    assert.ok(pss < 1.1 * BIG_BYTES + 4 * MIB, `${pss} bytes in memory`);
  }
  for (const { child } of guests) child.kill("SIGKILL");
  await Promise.allSettled(guests.map(({ result }) => result));
});

test("guests end when the erofsify that started them is killed", async () => {
  const store = join(directory, "store/blobs");
  for (let tries = 0; mappings(store).length > 0; tries++) {
    assert.ok(tries < 100, "a guest goes on without its host");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
});

test("an image with more files than QEMU takes devices runs as one flat file", async () => {
  const count = 140;
  const layers = [
    busyboxLayer(["sh", "cat", "ls"]),
    ...Array.from({ length: count }, (_, i) => [
      { name: `file-${String(i).padStart(3, "0")}`, content: `content ${i}\n` },
    ]),
  ];
  await writeOciLayout(join(directory, "many"), "many", layers.map(buildTar), { Cmd: ["sh", "-c", "cat /file-*"] });
  const many = `oci:${directory}/many:many`;
  const { status, stdout, stderr } = await erofsify(["run", "--timeout", "120", many], { env });
  assert.match(stderr, /warning: the image has 142 files, QEMU guests take 128 as devices: it becomes one flat file/);
  assert.equal(stdout, Array.from({ length: count }, (_, i) => `content ${i}\n`).join(""));
  assert.equal(status, 0);
  // It is found again, and not by the image's name.
  const inspected = JSON.parse((await erofsify(["inspect", "--json", many], { env })).stdout) as { devices: unknown[] };
  assert.equal(inspected.devices.length, count + 1);
});

test("an image of another tool, whose size is no multiple of 2 MiB, runs too", async () => {
  const root = join(directory, "tree");
  await run("sh", [
    "-c",
    `mkdir -p ${root}/bin && cp /usr/bin/busybox ${root}/bin && echo "from mkfs.erofs" >${root}/file`,
  ]);
  const path = join(directory, "mkfs.erofs");
  await run("mkfs.erofs", [path, root]);
  assert.notEqual(statSync(path).size % (2 * MIB), 0);
  const digest = (await run("sha256sum", [path])).stdout;
  const { status, stdout, stderr } = await erofsify([...options, path, "--", "/bin/busybox", "cat", "/file"], { env });
  assert.equal(stdout, "from mkfs.erofs\n", stderr);
  assert.equal(status, 0);
  assert.equal((await run("sha256sum", [path])).stdout, digest);
});
