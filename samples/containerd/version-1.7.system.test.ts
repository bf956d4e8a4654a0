/** The same with containerd 1.7, Debian 13's, and the configuration for it. Needs root, and the network the first time. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { compareTrees, pushImage, type Registry, startRegistry, tempDir } from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import { addConverted } from "./converted.ts";
import { ContainerdLab } from "./lab.ts";
import { describeImage, NOTHING, removeAll, runContainer, TAG, writeImage } from "./testing.ts";
import { type Cri, callCri, connectCri } from "./testing-cri.ts";

const work = tempDir();
let lab: ContainerdLab;
let registry: Registry;
let image: string;
let converted: string;
let cri: Cri;
const LARGE_BYTES = 4 << 20;
before(async () => {
  // No pod is run here: CRI pulls.
  const sandboxImage = "registry.invalid/pause:1";
  [lab, registry] = await Promise.all([ContainerdLab.start({ version: "1.7", sandboxImage }), startRegistry()]);
  await writeImage(join(work, "layout"), 2, LARGE_BYTES);
  image = `${registry.host}/base:1`;
  converted = `${registry.host}/converted:1`;
  for (const one of [image, converted]) await pushImage(join(work, "layout"), TAG, one);
  await addConverted(converted, join(work, "store"), "referrer");
  await lab.startServe();
  cri = connectCri(lab);
});
after(async () => {
  cri?.close();
  await lab?.stop();
  await registry?.stop();
});

test("containerd 1.7 pulls and runs through our snapshotter and differ", async () => {
  assert.match((await lab.ctr("version")).stdout, /Server:\n +Version: +1\.7\./);
  await lab.pull(image);
  await lab.pull(image, "overlayfs");
  const [theirs, ours] = [await describeImage(lab, image, "overlayfs"), await describeImage(lab, image, SNAPSHOTTER)];
  assert.deepEqual(
    compareTrees(theirs, ours, (path, fact) => path === "/" || fact === "mtime"),
    [],
  );
  const script = "cat /data/keep; echo -n new >/data/change; cat /data/change";
  assert.equal(await runContainer(lab, image, "first", "/bin/sh", "-c", script), "keptnew");
  assert.equal(await runContainer(lab, image, "second", "/bin/cat", "/data/change"), "before");
});

test("Kubernetes on containerd 1.7 pulls no layer of a converted image; it runs, and is read on demand", async () => {
  await callCri(cri.images, "PullImage", { image: { image: converted } });
  const ctr = (...args: string[]) => lab.ctr("--namespace", "k8s.io", ...args);
  const { stdout } = await ctr("images", "check", `name==${converted}`);
  assert.match(stdout, /incomplete \(1\/5\)/, "no layer was fetched");
  const run = async (id: string, script: string) =>
    (await ctr("run", "--rm", "--snapshotter", SNAPSHOTTER, converted, id, "/bin/sh", "-c", script)).stdout;
  assert.equal(await run("served", "cat /data/keep"), "kept");
  const script = "cat /large-* | wc -c; echo -n new >/data/change; cat /data/change";
  assert.equal(await run("reader", script), `${2 * LARGE_BYTES}\nnew`);
  await callCri(cri.images, "RemoveImage", { image: { image: converted } });
});

test("all removed: store, folders and mounts are as they were", async () => {
  assert.deepEqual(await removeAll(lab), NOTHING);
});
