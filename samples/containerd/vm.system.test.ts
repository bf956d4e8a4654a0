/** Images handed to runtimes that start VMs: what Mounts names is booted in a guest of the lab, and mounted here. Needs root. */
import assert from "node:assert/strict";
import { appendFileSync, chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Mount } from "../../blobd/snapshotter/grpc/index.ts";
import { TestSnapshotter } from "../../blobd/snapshotter/testing.ts";
import { Store } from "../../blobd/store/index.ts";
import { ShellGuest } from "../../builder/guestkit/index.ts";
import { busyboxLayer, guestEnvironment, run, tempDir } from "../../builder/testkit/index.ts";

const VM_LABEL = "containerd.io/snapshot/erofsify.vm";
const APPLETS = ["sh", "cat", "grep", "wc"];
const work = tempDir();
const snapshotter = new TestSnapshotter();
before(async () => {
  await snapshotter.start();
  await layer("base", "", (at) => {
    for (const name of ["dev", "proc", "sys", "tmp", "bin"]) mkdirSync(join(at, name));
    for (const { name, type, link, content } of busyboxLayer(APPLETS))
      if (type === "2") symlinkSync(link!, join(at, name));
      else if (type === undefined) writeFileSync(join(at, name), content!);
    chmodSync(join(at, "bin/busybox"), 0o755);
    writeFileSync(join(at, "removed"), "x");
    writeFileSync(join(at, "large"), Buffer.alloc(5 << 20, "large"));
  });
  await layer("top", "base", (at) => writeFileSync(join(at, "said"), "by the upper layer"));
});
after(() => snapshotter.close());

/** A committed snapshot with what `write` puts over its parent. */
async function layer(name: string, parent: string, write: (directory: string) => void): Promise<void> {
  const [mount] = await snapshotter.prepare(`${name}-active`, parent);
  const upper = mount!.options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
  write(upper ?? mount!.source);
  await snapshotter.commit(name, `${name}-active`);
}

const prepare = (form: string) => snapshotter.prepare(`vm-${form}`, "top", { [VM_LABEL]: form });
const devicesOf = ({ options }: Mount) =>
  options.filter((option) => option.startsWith("device=")).map((option) => option.slice("device=".length));

test("a form that is none is refused, and views have no overlay", async () => {
  await assert.rejects(prepare("floppy"), /INVALID_ARGUMENT.*expected erofs, pmem, block, layered, none/);
  const [lower, ...more] = await snapshotter.view("view", "top", { [VM_LABEL]: "erofs" });
  assert.deepEqual([lower!.type, more], ["erofs", []]);
  const [plain] = await snapshotter.prepare("none", "top", { [VM_LABEL]: "none" });
  assert.equal(plain!.type, "overlay");
});

test("files in a row, as runtimes join them, and the one raw block device are the image to the kernel", async () => {
  const [rows] = await prepare("erofs");
  assert.ok(devicesOf(rows!).length > 1 && !rows!.options.includes("dax=always"));
  const row = join(work, "row");
  for (const file of [rows!.source, ...devicesOf(rows!)]) appendFileSync(row, readFileSync(file));
  const [block] = await prepare("block");
  assert.equal(block!.type, "fuse.nydus-overlayfs");
  const encoded = block!.options.find((option) => option.startsWith("io.katacontainers.volume="))!;
  const volume = JSON.parse(Buffer.from(encoded.slice(encoded.indexOf("=") + 1), "base64").toString());
  const expected = { volume_type: "image_raw_block", source: volume.source, fs_type: "erofs", options: ["ro"] };
  assert.deepEqual(volume, expected);
  assert.ok(
    block!.options.some((option) => option.startsWith("lowerdir=")),
    "a runtime that does not know the option has the overlay",
  );
  for (const device of [row, volume.source]) {
    const target = tempDir();
    await run("mount", ["-t", "erofs", "-o", "ro,loop", device, target]);
    try {
      assert.equal(readFileSync(join(target, "said"), "utf8"), "by the upper layer");
      assert.deepEqual(readFileSync(join(target, "large")), Buffer.alloc(5 << 20, "large"));
    } finally {
      await run("umount", [target]);
    }
  }
});

test("what Mounts names is a guest's root by virtio-pmem", async (t) => {
  const [pmem, overlay] = await prepare("pmem");
  assert.deepEqual(overlay!.options.at(-1), "lowerdir={{ mount 0 }}");
  assert.equal(pmem!.type, "erofs");
  assert.ok(pmem!.options.includes("dax=always") && pmem!.options.includes("ro"));
  for (const file of [pmem!.source, ...devicesOf(pmem!)]) assert.equal(statSync(file).size % (2 << 20), 0);
  assert.deepEqual(await snapshotter.mounts("vm-pmem"), [pmem, overlay], "Mounts says what Prepare said");
  const guest = await ShellGuest.boot({
    storeRoot: join(snapshotter.directory, "store"),
    image: pmem!.source,
    memoryBytes: 256 << 20,
    cpus: 1,
    devices: [],
    needs: [],
    timeoutMs: 100_000,
    env: { ...process.env, ...(await guestEnvironment()) },
  });
  t.after(() => guest.end());
  assert.match(await guest.shell("grep ' / ' /proc/mounts || cat /proc/mounts"), /erofs ro.*dax=always/);
  assert.equal(await guest.shell("cat /said; wc -c </large"), `by the upper layer${5 << 20}\n`);
});

test("removed, nothing is held any more", async () => {
  for (const key of ["view", "none", "vm-pmem", "vm-erofs", "vm-block", "top", "base"]) await snapshotter.remove(key);
  await snapshotter.call("cleanup", {});
  const store = await Store.open(join(snapshotter.directory, "store"));
  assert.deepEqual([store.listHolds(), store.listBlobs()], [[], []]);
  store.close();
});
