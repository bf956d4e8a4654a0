import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  run,
  type Server,
  startServer,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";
import { imageOfEntries, ShellGuest } from "./index.ts";

// `blobd pmem` as a device of a guest: an image of three blobs in one window, another one added while it runs, resets, and what a
// guest can do to the files.

const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const MIB = 1 << 20;
const APPLETS = ["sh", "cat", "sha256sum", "find", "sort", "mount", "umount", "dd", "sync", "sleep", "mknod", "rm"];
/** util-linux's program that makes a part of a block device one of its own, and what it needs. */
const ADDPART = ["/usr/bin/addpart", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"];

function noise(length: number, seed: string): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 32) createHash("sha256").update(`${seed} ${at}`).digest().copy(bytes, at);
  return bytes;
}

/** Files of a layer by name. */
type Files = Record<string, Buffer>;

const LAYERS: readonly Files[] = [
  { large: noise(9 * MIB, "large"), a: noise(5000, "a") },
  { middle: noise(3 * MIB + 77, "middle"), b: noise(70_000, "b") },
  { c: noise(1, "c"), d: noise(MIB, "d") },
];
const LATE: readonly Files[] = [{ late: noise(4 * MIB + 5, "late") }, { later: noise(12_345, "later") }];

const sums = (layers: readonly Files[]) =>
  layers
    .flatMap((files) => Object.entries(files))
    .map(([name, content]) => `${createHash("sha256").update(content).digest("hex")}  ./${name}`)
    .sort()
    .join("\n");

test("an image of three blobs in one window, one more added while the guest runs, resets, and what a guest may write", async (t) => {
  const work = tempDir(t);
  const at = (name: string) => join(work, name);
  const store = at("images");
  const convert = async (name: string, layers: readonly Files[]) => {
    const tars = layers.map((files) =>
      buildTar(Object.entries(files).map(([file, content]) => ({ name: file, content }))),
    );
    await writeOciLayout(at(name), "v", tars, {});
    const { status, stderr } = await erofsify(["convert", "--quiet", "--store", store, `oci:${at(name)}:v`]);
    assert.equal(status, 0, stderr);
    return `oci:${at(name)}:v`;
  };
  const [image, late] = [await convert("first", LAYERS), await convert("second", LATE)];
  const folders = ["dev/", "proc/", "sys/", "tmp/", "mnt/", "own/", "late/"].map((name) => ({ name, type: "5" }));
  const libraries = ["lib64/", "lib/", "lib/x86_64-linux-gnu/", "usr/", "usr/bin/"].map((name) => ({
    name,
    type: "5",
  }));
  const programs = ADDPART.map((path) => ({
    name: path.slice(1),
    mode: 0o755,
    content: readFileSync(realpathSync(path)),
  }));
  const root = await imageOfEntries([...folders, ...busyboxLayer(APPLETS), ...libraries, ...programs], work);
  const servers: Server[] = [];
  t.after(async () => {
    for (const server of servers) await server.stop();
  });
  const blobd = async (...args: string[]) => await run(process.execPath, [BLOBD, ...args]);
  const serve = async (name: string, ...options: string[]) => {
    const socket = at(`${name}.sock`);
    const args = [
      "pmem",
      "--socket-path",
      socket,
      "--store",
      store,
      "--image",
      image,
      "--log-level",
      "warn",
      ...options,
    ];
    servers.push(await startServer(process.execPath, ["--enable-source-maps", BLOBD, ...args], /listening/));
    return [
      ...["-chardev", `socket,id=${name},path=${socket}`, "-device"],
      `vhost-user-test-device-pci,addr=${name === "own" ? "0x1c" : "0x1d"},chardev=${name},virtio-id=27,num_vqs=1,config_size=16,vq_size=128`,
    ];
  };
  await assert.rejects(
    blobd("pmem", "--socket-path", at("none"), "--store", store, "--image", image, "--guest-writes-files"),
    /is of the store .*other guests and this host use/,
  );
  const control = at("control");
  const devices = [
    ...(await serve("own", "--window", "64M", "--control", control)),
    ...(await serve("shared", "--window", "48M", "--guest-writes-store")),
  ];
  const env = { ...process.env, ...(await guestEnvironment()) };
  const guest = await ShellGuest.boot({
    ...root,
    memoryBytes: 512 * MIB,
    cpus: 2,
    devices,
    needs: [],
    timeoutMs: 200_000,
    env,
  });
  t.after(() => guest.end());
  // There is no udev: nodes by hand. Devices by their sizes, for names depend on the order of probing.
  const deviceOf = async (bytes: number) =>
    (
      await guest.shell(`found=
        for device in /sys/class/block/pmem*; do
          node=/dev/\${device##*/}
          IFS=: read -r major minor <$device/dev
          rm -f $node && mknod $node b $major $minor
          [ $(cat $device/size) != ${bytes / 512} ] || found=$node
        done
        echo $found`)
    ).trim();
  const [own, shared] = [await deviceOf(64 * MIB), await deviceOf(48 * MIB)];
  assert.match(`${own} ${shared}`, /^\/dev\/pmem\d \/dev\/pmem\d$/);
  const sumsIn = async (folder: string) =>
    (await guest.shell(`cd ${folder} && find . -type f -exec sha256sum {} + | sort; cd /`)).trim();
  const cached = async () => (await guest.memory()).cached;

  const mountDax = (device: string, target: string) =>
    guest.shell(`mount -t erofs -o ro,dax=always ${device} ${target}`);
  /** Makes a range of a device one of its own: Linux lets nobody have a part of a device that is mounted as a whole. */
  const part = async (device: string, number: number, start: number, end: number) => {
    await guest.shell(`/usr/bin/addpart ${device} ${number} ${start / 512} ${(end - start) / 512}`);
    return await deviceOf(end - start);
  };
  const imageBytes = 18 * MIB;
  await mountDax(await part(own, 1, 0, imageBytes), "/own");
  await mountDax(shared, "/mnt");
  const before = await cached();
  assert.equal(await sumsIn("/own"), sums(LAYERS));
  assert.equal(await sumsIn("/mnt"), sums(LAYERS));
  const growth = (await cached()) - before;
  assert.ok(growth < 2 * MIB, `Cached grew by ${growth} bytes: it is mapped, not copied`);

  // Another image, of two blobs, into the window of the running guest.
  const placed = JSON.parse(
    (await blobd("pmem-add", "--control", control, "--store", store, "--image", late, "--json")).stdout,
  );
  assert.equal(placed.length, 3);
  assert.ok(placed.every(({ isMapped }: { isMapped: boolean }) => isMapped));
  const [start, end] = [placed[0].offset, placed[2].offset + placed[2].bytes];
  await mountDax(await part(own, 2, start, end), "/late");
  assert.equal(await sumsIn("/late"), sums(LATE));
  assert.match(await guest.shell("cat /proc/mounts"), /\/late erofs .*dax=always/);
  await assert.rejects(blobd("pmem-add", "--control", control, "--file", at("absent")), /no such file/);
  // Named from the working directory of who asks, not of the daemon.
  await assert.rejects(
    blobd("pmem-add", "--control", control, "--file", "absent"),
    new RegExp(`open '${resolve("absent")}'`),
  );

  // The device is reset, and has everything again.
  await guest.shell(`umount /late && umount /own
    driver=/sys/bus/virtio/drivers/virtio_pmem
    for device in $driver/virtio*; do
      [ ! -e $device/ndbus*/region*/namespace*/block/${own.slice(5)} ] || name=\${device##*/}
    done
    echo $name >$driver/unbind && echo $name >$driver/bind
    while [ ! -e $driver/$name/ndbus*/region*/namespace*/block/pmem* ]; do sleep 1; done`);
  const again = await deviceOf(64 * MIB);
  await mountDax(again, "/own");
  assert.equal(await sumsIn("/own"), sums(LAYERS));
  await guest.shell("umount /own && umount /mnt");

  // What is written to a private view is this guest's; what is written to the file itself is found.
  const hurt = (device: string) =>
    guest.shell(
      `echo "written by the guest" | dd of=${device} bs=1 seek=$((2 * 1024 * 1024)) conv=notrunc 2>/dev/null; sync`,
    );
  await hurt(again);
  await blobd("store", "verify", "--store", store);
  const blobs = join(store, "blobs/sha256");
  const sound = readdirSync(blobs).length;
  await hurt(shared);
  await assert.rejects(blobd("store", "verify", "--store", store), /ended with status 1/);
  assert.equal(readdirSync(blobs).length, sound - 1);
});
