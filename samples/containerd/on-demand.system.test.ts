/**
 * Images whose converted form is in the registry, through the lab's containerd 2.1 and runc: they are not pulled but served on
 * demand. Needs root. Subtests depend on each other, as in images.system.test.ts.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SnapshotsClient } from "../../blobd/snapshotter/testing.ts";
import { Store } from "../../blobd/store/index.ts";
import {
  buildTar,
  compareTrees,
  freePort,
  pushImage,
  type Registry,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import { addConverted } from "./converted.ts";
import { ContainerdLab } from "./lab.ts";
import { describeImage, imageLayers, NOTHING, removeAll, runContainer, scrape, soon, TAG } from "./testing.ts";

const work = tempDir();
let lab: ContainerdLab;
let registry: Registry;
/** Layers of 8 MiB that do not compress, above the programs. */
const LARGE = 4;
const layers = imageLayers(LARGE, 8 << 20);
let converted: string;
let storedBytes: number;
/** Where the snapshotter serves them, and where what serves does. */
let metrics: string;
let serveMetrics: string;

before(async () => {
  [metrics, serveMetrics] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  [lab, registry] = await Promise.all([ContainerdLab.start({ snapshotter: ["--metrics", metrics] }), startRegistry()]);
  await lab.startServe("--metrics", serveMetrics);
  converted = await publish("converted", layers);
  storedBytes = await addConverted(converted, join(work, "store"), "referrer");
});
after(async () => {
  await lab?.stop();
  await registry?.stop();
});

async function publish(name: string, tars: readonly Buffer[]): Promise<string> {
  const layout = join(work, name);
  await writeOciLayout(layout, TAG, tars, { Cmd: ["/bin/sh"] });
  const image = `${registry.host}/${name}:1`;
  await pushImage(layout, TAG, image);
  return image;
}

/** What is here of blobs that are served, and of complete ones, in bytes of disk. */
async function bytesHere(): Promise<number> {
  const store = await Store.open(lab.outside(lab.store));
  try {
    const partial = store.partials.list().reduce((sum, { diskBytes }) => sum + diskBytes, 0);
    return partial + (await store.prune({ dryRun: true })).keptBytes;
  } finally {
    store.close();
  }
}

/** How many of an image's config and layers containerd has, and of how many. */
async function contentOf(image: string): Promise<string | undefined> {
  const { stdout } = await lab.ctr("images", "check", `name==${image}`);
  return /\((\d+\/\d+)\)/.exec(stdout)?.[1];
}

test("a converted image is not pulled, and starts with a small part of its bytes", async () => {
  // The same image elsewhere has none.
  await lab.pull(await publish("plain", layers));
  assert.deepEqual(await removeAll(lab), NOTHING);
  await lab.pull(converted);
  assert.equal(await contentOf(converted), `1/${1 + layers.length}`, "no layer was fetched");
  assert.equal(await runContainer(lab, converted, "first", "/bin/cat", "/data/keep"), "kept");
  const here = await bytesHere();
  assert.ok(here > 0 && here < storedBytes / 5, `${here} of ${storedBytes} bytes`);
  const [ours, serves] = await Promise.all([scrape(metrics), scrape(serveMetrics)]);
  const fetched = ours("blobd_snapshotter_served_fetched_bytes");
  assert.ok(fetched > 0 && fetched < storedBytes / 5, `${fetched} of ${storedBytes} bytes came over the line`);
  assert.equal(ours('blobd_snapshotter_served_images_total{how="referrer"}'), 1);
  const faults = serves('blobd_serve_fault_seconds_count{result="ok"}');
  const seconds = serves('blobd_serve_fault_seconds_sum{result="ok"}');
  assert.ok(faults > 0 && seconds > 0 && seconds < faults, `${faults} faults, ${seconds} s`);
  assert.ok(serves("blobd_serve_fetched_bytes_total") >= fetched);
  // Both look at the same store: the image's metadata is complete, of its other blobs there are parts.
  for (const [prefix, told] of [
    ["blobd_snapshotter", ours],
    ["blobd_serve", serves],
  ] as const) {
    assert.ok(told(`${prefix}_store_entries{kind="partial"}`) > 0);
    const bytes = told(`${prefix}_store_bytes{kind="blob"}`) + told(`${prefix}_store_bytes{kind="partial"}`);
    assert.ok(bytes > 0 && bytes < storedBytes / 5, `${prefix}: ${bytes} bytes`);
  }
  const count = await runContainer(lab, converted, "reader", "/bin/sh", "-c", "cat /large-* | wc -c");
  assert.equal(Number(count), LARGE * (8 << 20));
});

test("a plain image over a converted one: only what is above is pulled", async () => {
  const top = buildTar([
    { name: "data/.wh.remove" },
    { name: "data/change", content: "after" },
    { name: "top", content: "plain" },
  ]);
  const image = await publish("derived", [...layers, top]);
  await lab.pull(image);
  const script = "cat /top /data/keep /data/change; test -e /data/remove || echo -n gone; cat /large-3 | wc -c";
  assert.equal(await contentOf(image), `2/${2 + layers.length}`);
  const said = await runContainer(lab, image, "derived", "/bin/sh", "-c", script);
  assert.equal(said.trim(), `plainkeptaftergone${8 << 20}`);
  // The same for containerd's mount manager: what is served is one mount, the layer above it another.
  const snapshotter = new SnapshotsClient(lab.address);
  const all = await snapshotter.list();
  const { name } = all.find((one) => one.kind === "COMMITTED" && !all.some(({ parent }) => parent === one.name))!;
  const mounts = await snapshotter.view("layered", name, { "containerd.io/snapshot/erofsify.vm": "layered" });
  assert.deepEqual(
    mounts.map(({ type }) => type),
    ["erofs", "erofs", "format/overlay"],
  );
  const devices = mounts[1]!.options.filter((option) => option.startsWith("device="));
  assert.ok(
    devices.some((device) => device.includes(join(lab.store, "serve"))),
    devices.join(),
  );
  await snapshotter.remove("layered");
  await snapshotter.close();
});

test("a plain image of a converted one's lower layers: those are fetched and converted here", async () => {
  const image = await publish("lower", layers.slice(0, 3));
  await lab.pull(image);
  assert.equal(await contentOf(image), "1/4");
  const script = "cat /data/keep /large-0 | wc -c; test -e /large-1 || echo -n none";
  assert.equal(await runContainer(lab, image, "lower", "/bin/sh", "-c", script), `${(8 << 20) + 4}\nnone`);
});

test("it is seen as overlayfs unpacks it; another snapshotter fetches what it needs", async () => {
  await lab.pull(converted, "overlayfs");
  const [theirs, ours] = [
    await describeImage(lab, converted, "overlayfs"),
    await describeImage(lab, converted, SNAPSHOTTER),
  ];
  assert.deepEqual(
    compareTrees(theirs, ours, (path, fact) => path === "/" || fact === "mtime"),
    [],
  );
  await lab.ctr(
    "run",
    "--rm",
    "--snapshotter",
    "overlayfs",
    converted,
    "theirs",
    "/bin/sh",
    "-c",
    "test -f /data/keep",
  );
});

test("a container that is served lives on without the snapshotter, and when what serves dies, and reads what it had not read", async () => {
  const image = await publish("fresh", imageLayers(3, 8 << 20));
  await addConverted(image, join(work, "store"), "index");
  await lab.pull(image);
  assert.equal(await contentOf(image), "3/6", "the lowest layers came for overlayfs");
  await lab.ctr("run", "--snapshotter", SNAPSHOTTER, "--detach", image, "lives", "/bin/sleep", "1000");
  const inside = (...command: string[]) =>
    soon(() => lab.ctr("tasks", "exec", "--exec-id", `e${Math.random()}`, "lives", ...command));
  await lab.kill("snapshotter");
  assert.equal((await inside("/bin/sh", "-c", "cat /large-0 | wc -c")).stdout.trim(), `${8 << 20}`);
  await lab.startSnapshotter();
  assert.equal(await soon(() => runContainer(lab, image, "beside", "/bin/cat", "/data/keep")), "kept");
  // Its keeper lives, and starts another one: the container waits for it.
  for (const pid of lab.serveWorkers()) process.kill(pid, "SIGKILL");
  assert.equal((await inside("/bin/sh", "-c", "cat /large-1 | wc -c")).stdout.trim(), `${8 << 20}`);
});

test("after what serves has died, its next process serves the next container by the same mount, and is scraped", async () => {
  const image = `${registry.host}/fresh:1`;
  const chains = async () => (await lab.mounts()).filter((line) => line.includes("/chains/"));
  const mounted = await chains();
  for (const pid of lab.serveWorkers()) process.kill(pid, "SIGKILL");
  const script = "cat /large-2 | wc -c";
  assert.equal(Number(await runContainer(lab, image, "next", "/bin/sh", "-c", script)), 8 << 20);
  assert.deepEqual(await chains(), mounted);
  await soon(async () => assert.ok((await scrape(serveMetrics))("blobd_serve_fetched_bytes_total") > 0));
});

test("when all that serves was killed, the next container has a new one", async () => {
  const image = `${registry.host}/fresh:1`;
  await lab.kill("serve");
  await lab.startServe();
  const script = "cat /large-* /data/keep | wc -c";
  const read = () => runContainer(lab, image, `after-${Math.random()}`.replace("0.", ""), "/bin/sh", "-c", script);
  assert.equal(Number(await soon(read)), 3 * (8 << 20) + 4);
  await lab.ctr("tasks", "kill", "--signal", "KILL", "lives");
  await soon(() => lab.ctr("containers", "rm", "lives"));
});

test("a damaged blob of a converted image is fetched anew when its image is mounted again", async () => {
  await removeAll(lab);
  await lab.pull(converted);
  assert.equal(
    await runContainer(lab, converted, "whole", "/bin/sh", "-c", "cat /large-* | wc -c"),
    `${LARGE * (8 << 20)}\n`,
  );
  const blobs = lab.outside(join(lab.store, "blobs/sha256"));
  const complete = readdirSync(blobs);
  assert.ok(complete.length >= LARGE, "what was read through is complete");
  await lab.stopSnapshotter();
  for (const line of await lab.mounts()) await lab.run(lab.inside("umount", "-l", line.split(" ")[1]!));
  await lab.kill("serve");
  for (const name of complete) {
    chmodSync(join(blobs, name), 0o644);
    const bytes = readFileSync(join(blobs, name));
    writeFileSync(join(blobs, name), bytes.fill(0xff, 0, 5000));
  }
  await lab.startServe();
  await lab.startSnapshotter();
  const script = "cat /data/keep /large-0 | wc -c";
  assert.equal(
    Number(await soon(() => runContainer(lab, converted, "repaired", "/bin/sh", "-c", script))),
    4 + (8 << 20),
  );
});

for (const delayMs of [60, 200])
  test(`the snapshotter killed ${delayMs} ms into the pull of a converted image: the next pull is whole`, async () => {
    await removeAll(lab);
    const pull = lab.pull(converted).catch(() => "broken off");
    await sleep(delayMs);
    await lab.kill("snapshotter");
    await lab.startSnapshotter();
    await pull;
    await soon(() => lab.pull(converted));
    assert.equal(await runContainer(lab, converted, "after", "/bin/cat", "/data/keep"), "kept");
  });

test("a disk that is full: reads of what is not here fail, and succeed when there is room", async () => {
  await removeAll(lab);
  await lab.kill("serve");
  // On tmpfs Linux mounts no EROFS by its files: this is also the test of loop devices over what is served.
  await lab.run(lab.inside("mount", "-t", "tmpfs", "-o", "size=60m", "small", lab.store));
  await lab.startServe();
  await lab.pull(converted);
  const ballast = join(lab.store, "ballast");
  await lab.run(lab.inside("sh", "-c", `head -c 40M /dev/zero >${ballast}`));
  const script = "set -o pipefail; cat /large-* | wc -c";
  const read = (id: string) => runContainer(lab, converted, id, "/bin/sh", "-c", script);
  await assert.rejects(read("full"), /Input\/output error|No space left/);
  await lab.run(lab.inside("rm", ballast));
  // What has failed is tried again after a moment.
  assert.equal(Number(await soon(() => read(`room-${randomUUID()}`))), LARGE * (8 << 20));
  assert.deepEqual(await removeAll(lab), NOTHING);
  await lab.kill("serve");
  await lab.stopSnapshotter();
  await lab.run(lab.inside("umount", "-l", join(lab.store, "serve"))).catch(() => {});
  await lab.run(lab.inside("umount", lab.store));
  await lab.startSnapshotter();
});

test("all removed: store, folders and mounts are as they were", async () => {
  assert.deepEqual(await removeAll(lab), NOTHING);
});
