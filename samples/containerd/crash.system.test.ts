/** Snapshotter, converters and containerd killed at bad moments; a store that rots. Needs root. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pushImage, type Registry, startRegistry, storeState, tempDir } from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import { ContainerdLab } from "./lab.ts";
import { NOTHING, removeAll, runContainer, soon, TAG, writeImage } from "./testing.ts";

const work = tempDir();
let lab: ContainerdLab;
let registry: Registry;
let image: string;
const LARGE_BYTES = 8 << 20;
before(async () => {
  [lab, registry] = await Promise.all([ContainerdLab.start(), startRegistry()]);
  const layout = join(work, "layout");
  await writeImage(layout, 3, LARGE_BYTES);
  image = `${registry.host}/base:1`;
  await pushImage(layout, TAG, image);
});
after(async () => {
  await lab?.stop();
  await registry?.stop();
});

for (const delayMs of [20, 120, 220, 320, 450])
  test(`the snapshotter killed ${delayMs} ms into a pull: the next pull is whole, and nothing is left in the end`, async () => {
    const pull = lab.pull(image).catch(() => "broken off");
    await sleep(delayMs);
    await lab.kill("snapshotter");
    await lab.startSnapshotter();
    await pull;
    await soon(() => lab.pull(image));
    assert.equal(await runContainer(lab, image, "after", "/bin/cat", "/data/keep"), "kept");
    assert.deepEqual(await removeAll(lab), NOTHING);
  });

for (const delayMs of [80, 250])
  test(`containerd killed ${delayMs} ms into a pull: the next pull is whole`, async () => {
    const pull = lab.pull(image).catch(() => "broken off");
    await sleep(delayMs);
    await lab.kill("containerd");
    await lab.startContainerd();
    await pull;
    await soon(() => lab.pull(image));
    assert.equal(await runContainer(lab, image, "after", "/bin/cat", "/data/keep"), "kept");
    assert.deepEqual(await removeAll(lab), NOTHING);
  });

test("converters killed during a pull: the pull fails or not, the next one is whole", async () => {
  const pull = lab.pull(image).catch(() => "broken off");
  await sleep(150);
  const children = readFileSync(`/proc/${lab.snapshotterPid}/task/${lab.snapshotterPid}/children`, "utf8");
  for (const pid of children.trim().split(" ")) process.kill(Number(pid), "SIGKILL");
  await pull;
  await soon(() => lab.pull(image));
  assert.equal(await runContainer(lab, image, "after", "/bin/cat", "/data/keep"), "kept");
});

test("a running container outlives snapshotter and containerd, and keeps what it wrote", async () => {
  await lab.ctr("run", "--snapshotter", SNAPSHOTTER, "--detach", image, "lives", "/bin/sleep", "1000");
  const inside = (...command: string[]) =>
    soon(() => lab.ctr("tasks", "exec", "--exec-id", `e${Math.random()}`, "lives", ...command));
  await inside("/bin/sh", "-c", "echo -n mine >/data/change");
  await lab.kill("snapshotter");
  assert.equal((await inside("/bin/cat", "/data/keep", "/data/change")).stdout, "keptmine");
  await lab.startSnapshotter();
  await lab.kill("containerd");
  await lab.startContainerd();
  assert.equal((await inside("/bin/cat", "/data/keep", "/data/change")).stdout, "keptmine");
  assert.equal(await soon(() => runContainer(lab, image, "beside", "/bin/cat", "/data/change")), "before");
  // The mount below all is taken away, as after a reboot: it comes back when it is needed.
  for (const line of await lab.mounts())
    if (line.includes("/chains/")) await lab.run(lab.inside("umount", "-l", line.split(" ")[1]!));
  assert.equal((await inside("/bin/cat", "/data/keep", "/data/change")).stdout, "keptmine");
  assert.equal(await runContainer(lab, image, "anew", "/bin/cat", "/data/keep"), "kept");
  await lab.ctr("tasks", "kill", "--signal", "KILL", "lives");
  await soon(() => lab.ctr("containers", "rm", "lives"));
});

test("a store whose blobs were damaged: what runs runs on, what runs next is repaired from containerd's content", async () => {
  await lab.ctr("run", "--snapshotter", SNAPSHOTTER, "--detach", image, "on", "/bin/sleep", "1000");
  const readAll = ["/bin/sh", "-c", "cat /data/keep /large-* | wc -c"] as const;
  const readOn = async (id: string) =>
    Number((await soon(() => lab.ctr("tasks", "exec", "--exec-id", id, "on", ...readAll))).stdout);
  const bytes = 4 + 3 * LARGE_BYTES;
  await lab.stopSnapshotter();
  const blobs = lab.outside(join(lab.store, "blobs/sha256"));
  for (const name of readdirSync(blobs)) {
    const content = readFileSync(join(blobs, name));
    // Another file under the name: who has mounted the old one has it open.
    writeFileSync(join(blobs, `${name}.next`), content.fill(0xff, 0, 5000));
    renameSync(join(blobs, `${name}.next`), join(blobs, name));
  }
  assert.equal(await readOn("damaged"), bytes);
  for (const line of await lab.mounts()) {
    const target = line.split(" ")[1]!;
    if (target.includes("/chains/")) await lab.run(lab.inside("umount", "-l", target));
  }
  await lab.startSnapshotter();
  assert.equal(Number(await soon(() => runContainer(lab, image, "repaired", ...readAll))), bytes);
  assert.equal(await readOn("repaired"), bytes);
  await lab.ctr("tasks", "kill", "--signal", "KILL", "on");
  await soon(() => lab.ctr("containers", "rm", "on"));
});

test("a store whose disk is full: the pull says so and leaves nothing, and works when there is room", async () => {
  await removeAll(lab);
  await lab.run(lab.inside("mount", "-t", "tmpfs", "-o", "size=12m", "full", lab.store));
  await assert.rejects(
    soon(() => lab.pull(image), 0),
    /disk full/,
  );
  // Layers that were converted ahead fail by themselves.
  await soon(async () => assert.deepEqual(storeState(lab.outside(lab.store)).tmp, []));
  await soon(() => lab.run(lab.inside("umount", lab.store)));
  await lab.pull(image);
  assert.equal(await runContainer(lab, image, "room", "/bin/cat", "/data/keep"), "kept");
});

test("content whose files cannot be seen is read through containerd", async () => {
  await removeAll(lab);
  await lab.stopSnapshotter();
  const content = join(lab.directory, "root/io.containerd.content.v1.content");
  const hide = `mount -t tmpfs hidden ${content} && exec "$@"`;
  await lab.startSnapshotter("unshare", "--mount", "--propagation", "slave", "sh", "-c", hide, "sh");
  await soon(() => lab.pull(image));
  // What was mounted in that namespace is not seen outside: as after a reboot.
  await lab.stopSnapshotter();
  await lab.startSnapshotter();
  assert.equal(await soon(() => runContainer(lab, image, "through", "/bin/cat", "/data/keep")), "kept");
});

for (const [which, delayMs] of [
  ["snapshotter", 0],
  ["snapshotter", 15],
  ["snapshotter", 40],
  ["containerd", 15],
] as const)
  test(`${which} killed ${delayMs} ms into a removal: nothing is left in the end`, async () => {
    await soon(() => lab.pull(image));
    const removal = lab.ctr("images", "rm", "--sync", image).catch(() => "broken off");
    await sleep(delayMs);
    await lab.kill(which);
    if (which === "snapshotter") await lab.startSnapshotter();
    else await lab.startContainerd();
    await removal;
    await soon(() => lab.ctr("snapshots", "--snapshotter", SNAPSHOTTER, "ls"));
    assert.deepEqual(await removeAll(lab), NOTHING);
  });
