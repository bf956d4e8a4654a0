/**
 * Images whose converted form is in the registry, through the lab's containerd 2.1 and runc: they are not pulled but served on
 * demand. Needs root. Subtests depend on each other, as in images.system.test.ts.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Store } from "../../blobd/store/index.ts";
import {
  buildTar,
  compareTrees,
  pushImage,
  type Registry,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import { addConverted } from "./converted.ts";
import { ContainerdLab } from "./lab.ts";
import { describeImage, imageLayers, NOTHING, removeAll, runContainer, soon, TAG } from "./testing.ts";

const work = tempDir();
let lab: ContainerdLab;
let registry: Registry;
/** Layers of 8 MiB that do not compress, above the programs. */
const LARGE = 4;
const layers = imageLayers(LARGE, 8 << 20);
let converted: string;
let storedBytes: number;

before(async () => {
  [lab, registry] = await Promise.all([ContainerdLab.start(), startRegistry()]);
  await lab.startServe();
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
  await lab.pull(converted);
  assert.equal(await contentOf(converted), `1/${1 + layers.length}`, "no layer was fetched");
  assert.equal(await runContainer(lab, converted, "first", "/bin/cat", "/data/keep"), "kept");
  const here = await bytesHere();
  assert.ok(here > 0 && here < storedBytes / 5, `${here} of ${storedBytes} bytes`);
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

test("a container that is served lives on without the snapshotter, and reads what it had not read", async () => {
  const image = await publish("fresh", imageLayers(2, 8 << 20));
  await addConverted(image, join(work, "store"), "index");
  await lab.pull(image);
  assert.equal(await contentOf(image), "3/5", "the lowest layers came for overlayfs");
  await lab.ctr("run", "--snapshotter", SNAPSHOTTER, "--detach", image, "lives", "/bin/sleep", "1000");
  const inside = (...command: string[]) =>
    soon(() => lab.ctr("tasks", "exec", "--exec-id", `e${Math.random()}`, "lives", ...command));
  await lab.kill("snapshotter");
  assert.equal((await inside("/bin/sh", "-c", "cat /large-0 | wc -c")).stdout.trim(), `${8 << 20}`);
  await lab.startSnapshotter();
  assert.equal(await soon(() => runContainer(lab, image, "beside", "/bin/cat", "/data/keep")), "kept");
  assert.equal((await inside("/bin/sh", "-c", "cat /large-1 | wc -c")).stdout.trim(), `${8 << 20}`);
});

test("when what serves was killed, the next container has a new one", async () => {
  const image = `${registry.host}/fresh:1`;
  await lab.kill("serve");
  await lab.startServe();
  const script = "cat /large-0 /large-1 /data/keep | wc -c";
  const read = () => runContainer(lab, image, `after-${Math.random()}`.replace("0.", ""), "/bin/sh", "-c", script);
  assert.equal(Number(await soon(read)), 2 * (8 << 20) + 4);
  await lab.ctr("tasks", "kill", "--signal", "KILL", "lives");
  await soon(() => lab.ctr("containers", "rm", "lives"));
});

test("all removed: store, folders and mounts are as they were", async () => {
  assert.deepEqual(await removeAll(lab), NOTHING);
});
