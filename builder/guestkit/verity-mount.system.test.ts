import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildTar, busyboxLayer, erofsify, guestEnvironment, tempDir, writeOciLayout } from "../testkit/index.ts";
import { imageOfEntries, ShellGuest, startVolume, VIRTIO_FS } from "./index.ts";

// `erofsify mount --verity` in a guest, whose kernel has a device mapper where the machine's may have none: this machine's
// files are a volume of the guest's, and Node.js runs from there.

const MAIN = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
const VOLUME = { server: "blobd", device: "vhost-user-fs-pci", serverOptions: [] } as const;
const NEEDS = [
  VIRTIO_FS,
  { option: "BLK_DEV_LOOP", module: "loop", why: "files as devices" },
  { option: "BLK_DEV_DM", module: "dm_mod", why: "checked devices" },
  { option: "DM_VERITY", module: "dm_verity", why: "checked devices" },
];

test("a checked mount of a host: right bytes, a flipped bit is an error, nothing is left after umount", async (t) => {
  const work = tempDir(t);
  const store = join(work, "checked");
  const [large, victim] = [randomBytes(3_000_000), randomBytes(100_000)];
  const layer = buildTar([
    { name: "large", content: large },
    { name: "victim", content: victim },
  ]);
  await writeOciLayout(join(work, "layout"), "v1", [layer], {});
  const converted = await erofsify(["--quiet", "--store", store, "--verity", `oci:${work}/layout:v1`]);
  assert.equal(converted.status, 0, converted.stderr);
  mkdirSync(join(work, "mnt"));
  const env = { ...process.env, ...(await guestEnvironment()) };
  const applets = ["sh", "cat", "mount", "umount", "chroot", "ls", "sha256sum", "sleep", "grep", "sync"];
  const folders = ["dev/", "proc/", "sys/", "tmp/", "host/"].map((name) => ({ name, type: "5" }));
  const image = await imageOfEntries([...folders, ...busyboxLayer(applets)], work);
  const volume = await startVolume(VOLUME, { folder: "/", work, name: "host" });
  const ends: (() => Promise<void>)[] = [() => volume.stop()];
  t.after(async () => {
    // The guest first: its last words to a volume that has gone would not be answered.
    for (const end of ends.reverse()) await end();
  });
  const guest = await ShellGuest.boot({
    ...image,
    memoryBytes: 1 << 30,
    cpus: 2,
    devices: volume.devices,
    needs: NEEDS,
    timeoutMs: 150_000,
    env,
  });
  ends.push(() => guest.end());
  await guest.shell(volume.mount("/host"));
  await guest.shell("mount -t devtmpfs dev /host/dev && mount -t proc proc /host/proc && mount -t sysfs sys /host/sys");
  const node = `chroot /host ${process.execPath} ${MAIN}`;
  const name = `oci:${work}/layout:v1`;
  const mnt = `/host${work}/mnt`;
  const mounted = await guest.shell(`${node} mount --store ${store} --verity ${name} ${work}/mnt`);
  assert.match(mounted, /from devices checked by dm-verity \(metadata and 1 blob\)/);
  const sum = await guest.shell(`sha256sum <${mnt}/large`);
  assert.equal(sum.slice(0, 64), createHash("sha256").update(large).digest("hex"));

  const blobs = join(store, "blobs/sha256");
  const holder = readdirSync(blobs).find((file) => readFileSync(join(blobs, file)).includes(victim));
  const position = readFileSync(join(blobs, holder!)).indexOf(victim) + 70_000;
  const fd = openSync(join(blobs, holder!), "r+");
  writeSync(fd, Uint8Array.of(victim[70_000]! ^ 32), 0, 1, position);
  closeSync(fd);
  // The volume is cached in the guest, and what follows a file there was read ahead.
  await guest.dropCaches();
  await assert.rejects(guest.shell(`cat ${mnt}/victim >/dev/null`), /Input\/output error/);
  await guest.shell(`cat ${mnt}/large >/dev/null`);

  assert.equal(await guest.shell("ls /sys/block | grep -c ^dm-"), "2\n");
  await guest.shell(`umount ${mnt}`);
  // The kernel takes them away when their last user has gone, a moment later.
  const left = "cat /sys/block/dm-*/dm/name /sys/block/loop*/loop/backing_file 2>/dev/null";
  await guest.shell(`n=0; while [ -n "$(${left})" ] && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done`);
  assert.equal(await guest.shell(`${left} || :`), "");
});
