import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  type Server,
  startServer,
  tempDir,
} from "../testkit/index.ts";
import { compileProgram, imageOfEntries, LOOP, ShellGuest, VIRTIO_FS } from "./index.ts";

// An image in a guest that has no EROFS of it: its tree with DAX and without, and its files.

const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const APPLETS = [
  "sh",
  "cat",
  "base64",
  "chmod",
  "sha256sum",
  "find",
  "sort",
  "stat",
  "mount",
  "umount",
  "ls",
  "readlink",
  "touch",
  "dd",
  "wc",
  "head",
  "cp",
  "cmp",
  "mkdir",
  "poweroff",
  "losetup",
  "xargs",
  "timeout",
];
const FOLDERS = ["dev/", "proc/", "sys/", "tmp/", "dax/", "plain/", "files/", "mapped/", "loop/", "direct/"];
const LARGE_BYTES = 8 << 20;
const MIB = 1 << 20;

function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 32) createHash("sha256").update(`${seed} ${at}`).digest().copy(bytes, at);
  return bytes;
}

/** One large file, many small ones, one in pieces of others, links, and one of zeros. */
function makeTar(path: string): void {
  const large = noise(LARGE_BYTES, 1);
  const mixed = Buffer.concat([
    large.subarray(4 * MIB, 6 * MIB),
    noise(MIB, 9),
    large.subarray(0, 2 * MIB),
    Buffer.alloc(12_345, 1),
  ]);
  const small = Array.from({ length: 300 }, (_, i) => ({ name: `small/${i}`, content: noise(1 + i * 37, i + 2) }));
  const entries = [
    { name: "small/", type: "5" },
    ...small,
    { name: "large", content: large },
    { name: "mixed", content: mixed },
    { name: "zeros", content: Buffer.alloc(3 * MIB) },
    { name: "copy", type: "1", link: "large" },
    { name: "link", type: "2", link: "small/7" },
  ];
  writeFileSync(path, buildTar(entries));
}

test("an image in a guest: with DAX and without, and as files, in one boot", async (t) => {
  const work = tempDir(t);
  const at = (name: string) => join(work, name);
  const mountfs = readFileSync(await compileProgram("mountfs", work));
  const root = await imageOfEntries(
    [
      ...FOLDERS.map((name) => ({ name, type: "5" })),
      ...busyboxLayer(APPLETS),
      { name: "bin/mountfs", mode: 0o755, content: mountfs },
    ],
    work,
  );
  makeTar(at("image.tar"));
  const out = at("out");
  const converted = await erofsify([
    "convert",
    "--quiet",
    "--store",
    at("store2"),
    "-o",
    out,
    `tar:${at("image.tar")}`,
  ]);
  assert.equal(converted.status, 0, converted.stderr);
  const servers: Server[] = [];
  let guest: ShellGuest | undefined;
  // In this order: a guest whose file system answers no more does not end by itself.
  t.after(async () => {
    await guest?.end();
    for (const server of servers) await server.stop();
  });
  const serve = async (tag: string, ...options: string[]) => {
    const socket = at(`${tag}.sock`);
    const args = ["virtiofs", "--socket-path", socket, "--tag", tag, "--log-level", "warn", ...options];
    servers.push(await startServer(process.execPath, ["--enable-source-maps", BLOBD, ...args], /listening/));
    return socket;
  };
  const trusted = ["--dax", "always", "--dax-read-only-trusted", "--dax-window", "256M"];
  const any = (id: string, socket: string) => [
    ...["-chardev", `socket,id=${id},path=${socket}`],
    ...["-device", `vhost-user-test-device-pci,chardev=${id},virtio-id=26,num_vqs=2,config_size=44,vq_size=1024`],
  ];
  const own = (id: string, socket: string) => [
    ...["-chardev", `socket,id=${id},path=${socket}`],
    ...["-device", `vhost-user-fs-pci,chardev=${id},tag=${id},queue-size=1024`],
  ];
  const devices = [
    ...any("dax", await serve("dax", "--image", out, ...trusted)),
    ...own("plain", await serve("plain", "--image", out)),
    ...own("files", await serve("files", "--blobs", out)),
    ...any("mapped", await serve("mapped", "--blobs", out, ...trusted)),
  ];
  const env = { ...process.env, ...(await guestEnvironment()) };
  guest = await ShellGuest.boot({
    ...root,
    memoryBytes: 512 * MIB,
    cpus: 2,
    devices,
    needs: [VIRTIO_FS, LOOP],
    timeoutMs: 250_000,
    env,
  });
  await guest.shell(
    "mount -t virtiofs -o ro,dax=always dax /dax && mount -t virtiofs -o ro plain /plain && mount -t virtiofs -o ro files /files",
  );

  // Data, by DAX: nothing of it in the guest's page cache.
  await guest.dropCaches();
  const before = await guest.memory();
  const sums = (folder: string) => guest.shell(`cd ${folder} && find . -type f | sort | xargs sha256sum; cd /`);
  const byDax = await sums("/dax");
  const after = await guest.memory();
  assert.ok(after.cached - before.cached < 4 * MIB, `Cached grew by ${(after.cached - before.cached) / MIB} MiB`);
  assert.equal(byDax.trim().split("\n").length, 304);
  assert.ok(byDax.includes(`${createHash("sha256").update(noise(LARGE_BYTES, 1)).digest("hex")}  ./large`));
  const plain = await sums("/plain");
  assert.equal(plain, byDax);
  const cached = (await guest.memory()).cached - after.cached;
  assert.ok(cached > LARGE_BYTES / 2, `without DAX it grew by ${cached / MIB} MiB`);
  // Attributes and links.
  const list = (folder: string) =>
    guest.shell(`cd ${folder} && find . | sort | xargs stat -c '%n %f %h %s %u %g %Y %i'; readlink link; cd /`);
  assert.equal(await list("/plain"), await list("/dax"));
  // Data in the window as data of a request: written elsewhere from there.
  await guest.shell(
    "dd if=/dax/large of=/tmp/part bs=64k count=5 skip=20 2>/dev/null; dd if=/plain/large bs=64k count=5 skip=20 2>/dev/null | cmp - /tmp/part",
  );
  assert.match(await guest.shell("touch /dax/new 2>&1 || true"), /Read-only file system/);

  // Its files, which the guest mounts itself: as they are where nothing is mapped; as loop devices in both ways.
  await guest.shell(
    "mount -t virtiofs -o ro,dax=always mapped /mapped; mount -t devtmpfs devtmpfs /dev 2>/dev/null; true",
  );
  const files = (await guest.shell("ls /files")).trim().split("\n");
  assert.deepEqual((await guest.shell("ls /mapped")).trim().split("\n"), files);
  const blobs = files.filter((name) => name !== "image.erofs");
  assert.equal(blobs.length, 1);
  const mount = "timeout 60 mountfs erofs";
  await guest.shell(`${mount} /files/image.erofs /direct device=/files/${blobs[0]}`);
  assert.equal(await sums("/direct"), byDax);
  await guest.shell("umount /direct");
  for (const [first, folder] of [
    [0, "/files"],
    [2, "/mapped"],
  ] as const) {
    // Not the same devices again: Linux gives them up some time after losetup -d.
    const loops = [first, first + 1].map((number) => `/dev/loop${number}`);
    const pairs = ["image.erofs", blobs[0]].map((name, i) => `timeout 60 losetup -r ${loops[i]} ${folder}/${name}`);
    await guest.shell(`${pairs.join(" && ")} && ${mount} ${loops[0]} /loop device=${loops[1]}`);
    assert.equal(await sums("/loop"), byDax, folder);
    await guest.shell(`umount /loop && losetup -d ${loops[0]} && losetup -d ${loops[1]}`);
    await guest.dropCaches();
  }
  // Linux reads such a file through its page cache only, and one that is mapped has none.
  assert.match(
    await guest.shell(`${mount} /mapped/image.erofs /direct device=/mapped/${blobs[0]} 2>&1 || true`),
    /error 15/, // ENOTBLK
  );
});
