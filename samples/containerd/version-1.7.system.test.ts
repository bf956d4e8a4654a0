/** The same with containerd 1.7, Debian 13's, and the configuration for it. Needs root, and the network the first time. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { compareTrees, pushImage, type Registry, startRegistry, tempDir } from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import { ContainerdLab } from "./lab.ts";
import { describeImage, NOTHING, removeAll, runContainer, TAG, writeImage } from "./testing.ts";

const work = tempDir();
let lab: ContainerdLab;
let registry: Registry;
let image: string;
before(async () => {
  [lab, registry] = await Promise.all([ContainerdLab.start({ version: "1.7" }), startRegistry()]);
  await writeImage(join(work, "layout"), 2, 1 << 20);
  image = `${registry.host}/base:1`;
  await pushImage(join(work, "layout"), TAG, image);
});
after(async () => {
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

test("all removed: store, folders and mounts are as they were", async () => {
  assert.deepEqual(await removeAll(lab), NOTHING);
});
