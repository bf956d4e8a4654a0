import assert from "node:assert/strict";
import { chmod, link, lutimes, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  CommandError,
  compareTrees,
  describeImage,
  describeTree,
  EDGE_TAG,
  fsckErofs,
  mountImage,
  pushImage,
  run,
  startRegistry,
  tempDir,
  unpackWithUmoci,
  writeEdgeImage,
} from "./index.ts";

test("umoci unpacks the edge image as its layers say", async (t) => {
  const directory = tempDir(t);
  await writeEdgeImage(join(directory, "layout"));
  const tree = describeTree(await unpackWithUmoci(join(directory, "layout"), EDGE_TAG, join(directory, "root")));
  const facts = (path: string) => Object.fromEntries(tree.get(path) ?? []);
  const gone = ["/data/a", "/data/sub", "/usr/lib/libold.so", "/opaque/old1", "/opaque/olddir", "/opaque/new"];
  for (const path of [...gone, "/link-removed", "/types/hard1"]) assert.ok(!tree.has(path), path);
  assert.ok(![...tree.keys()].some((path) => path.includes("/.wh.")));
  assert.equal(facts("/usr/lib/liby.so").size, "11");
  assert.equal(facts("/linked3").links, facts("/link-source").links);
  assert.equal(facts("/link-source").nlink, "4");
  assert.equal(facts("/data").mtime, "1460000000.123456789");
  assert.equal(facts("/times/-1.5").mtime, "-2.500000000");
  assert.equal(facts("/types/block").rdev, "259:300000");
  assert.equal(facts("/types/hard-symlink").target, "/no/such/file");
  assert.equal(facts("/names/latin1-\\xe9").mode, "100644");
  assert.equal(
    facts("/attributes/capability")["xattr.security.capability"],
    "0100000200200000000000000000000000000000",
  );
});

test("compareTrees names what differs", async (t) => {
  const [a, b] = [join(tempDir(t), "a"), join(tempDir(t), "b")];
  for (const root of [a, b]) {
    await mkdir(root);
    for (const name of ["same", "content", "mode", "gone"]) await writeFile(join(root, name), "x");
  }
  await writeFile(join(b, "content"), "y");
  await chmod(join(b, "mode"), 0o600);
  await run("setfattr", ["-n", "user.new", "-v", "1", join(b, "same")]);
  await rm(join(b, "gone"));
  await writeFile(join(b, "more"), "");
  for (const root of [a, b]) for (const name of ["", "same", "content", "mode"]) await lutimes(join(root, name), 1, 1);
  const differences = compareTrees(describeTree(a), describeTree(b)).map((line) => line.replace(/[0-9a-f]{64}/g, "…"));
  assert.deepEqual(differences.sort(), [
    "/content: sha256: expected …, found …",
    "/gone: missing",
    "/mode: mode: expected 100644, found 100600",
    "/more: not expected",
    "/same: xattr.user.new: expected none, found 31",
  ]);
});

test("a registry takes an image and gives it back", async (t) => {
  const directory = tempDir(t);
  const registry = await startRegistry();
  t.after(() => registry.stop());
  await writeEdgeImage(join(directory, "layout"));
  await pushImage(join(directory, "layout"), EDGE_TAG, `${registry.host}/test/edge:1`, "v2s2");
  const accept = { Accept: "application/vnd.docker.distribution.manifest.v2+json" };
  const response = await fetch(`http://${registry.host}/v2/test/edge/manifests/1`, { headers: accept });
  assert.equal(response.status, 200);
  assert.equal(((await response.json()) as { layers: unknown[] }).layers.length, 3);
});

test("fsckErofs accepts what mkfs.erofs made, mountImage shows it, and damage is found", async (t) => {
  const directory = tempDir(t);
  const [source, image, extracted] = ["source", "image", "extracted"].map((name) => join(directory, name));
  await mkdir(source!);
  await writeFile(join(source!, "file"), "content".repeat(10_000));
  await mkdir(join(source!, "directory"));
  await symlink("file", join(source!, "directory/symlink"));
  await link(join(source!, "file"), join(source!, "directory/link"));
  await lutimes(join(source!, "file"), -1.5, -1.5);
  await run("mknod", [join(source!, "device"), "b", "259", "1000"]);
  await run("setfattr", ["-n", "user.note", "-v", "text", join(source!, "file")]);
  await run("mkfs.erofs", [image!, source!]);
  await fsckErofs(image!, [], extracted);
  const expected = describeTree(source!);
  assert.deepEqual(compareTrees(expected, describeImage(image!)), []);
  assert.deepEqual(compareTrees(expected, describeTree(extracted!)), []);
  assert.deepEqual(compareTrees(expected, describeTree(mountImage(t, { metaPath: image!, devicePaths: [] }))), []);
  await fsckErofs(image!);
  await run("dd", ["if=/dev/zero", `of=${image}`, "bs=1", "seek=1024", "count=4", "conv=notrunc"]);
  await assert.rejects(fsckErofs(image!), CommandError);
});
