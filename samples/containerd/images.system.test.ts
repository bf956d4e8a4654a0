/**
 * Real images through the lab's containerd 2.1, runc, a registry and our snapshotter. Needs root, and the network the
 * first time. Subtests depend on each other: what one leaves is what the next meets on a machine.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import {
  buildTar,
  compareTrees,
  describeTree,
  EDGE_UNPACK_TIMES,
  freePort,
  pushImage,
  type Registry,
  run,
  startRegistry,
  type TarEntry,
  tempDir,
  unpackWithUmoci,
  writeEdgeImage,
  writeOciLayout,
} from "../../builder/testkit/index.ts";
import { SNAPSHOTTER } from "./config.ts";
import { ContainerdLab } from "./lab.ts";
import { describeImage, NOTHING, removeAll, runContainer, scrape, writeImage } from "./testing.ts";

const work = tempDir();
let lab: ContainerdLab;
let registry: Registry;
/** Where the snapshotter serves them. */
let metrics: string;
before(async () => {
  metrics = `127.0.0.1:${await freePort()}`;
  [lab, registry] = await Promise.all([ContainerdLab.start({ snapshotter: ["--metrics", metrics] }), startRegistry()]);
});
after(async () => {
  await lab?.stop();
  await registry?.stop();
});

const reference = (name: string) => `${registry.host}/${name}:1`;
const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Copies an image of an OCI layout into the registry. */
async function publish(layout: string, tag: string, name: string): Promise<string> {
  await pushImage(layout, tag, reference(name));
  return reference(name);
}

/** A layer as a manifest and a config have it. */
interface Layer {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly diffId: string;
}

function gzipLayer(tar: Buffer): Layer {
  const bytes = gzipSync(tar, { level: 1 });
  return { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", bytes, diffId: sha256(tar) };
}

/** Changes the layers of the only image of an OCI layout. */
async function changeLayers(layout: string, change: (layers: readonly Layer[]) => Layer[]): Promise<void> {
  const path = (digest: string) => join(layout, "blobs/sha256", digest.slice(7));
  const json = async (file: string) => JSON.parse(await readFile(file, "utf8"));
  const put = async (bytes: Buffer) => {
    await writeFile(path(sha256(bytes)), bytes);
    return { digest: sha256(bytes), size: bytes.length };
  };
  const index = await json(join(layout, "index.json"));
  const manifest = await json(path(index.manifests[0].digest));
  const config = await json(path(manifest.config.digest));
  const before: Layer[] = [];
  for (const [i, { mediaType, digest }] of manifest.layers.entries())
    before.push({ mediaType, bytes: await readFile(path(digest)), diffId: config.rootfs.diff_ids[i] });
  const after = change(before);
  config.rootfs.diff_ids = after.map(({ diffId }) => diffId);
  delete config.history;
  manifest.layers = [];
  for (const { mediaType, bytes } of after) manifest.layers.push({ mediaType, ...(await put(bytes)) });
  manifest.config = { ...manifest.config, ...(await put(Buffer.from(JSON.stringify(config)))) };
  index.manifests[0] = { ...index.manifests[0], ...(await put(Buffer.from(JSON.stringify(manifest)))) };
  await writeFile(join(layout, "index.json"), JSON.stringify(index));
}

/** A layer over the small Debian image: what it removes and changes. containerd's differ unpacks no link to a lower file. */
function changesToDebian(): TarEntry[] {
  const capability = Buffer.from("0100000200200000000000000000000000000000", "hex").toString("latin1");
  return [
    { name: "etc/", type: "5", mtime: "1500000000" },
    { name: "etc/.wh.fstab" },
    { name: "etc/hostname", content: "changed\n", mtime: "1500000001" },
    { name: "usr/share/doc/", type: "5", mode: 0o700, mtime: "1500000002" },
    { name: "usr/share/doc/.wh..wh..opq" },
    { name: "usr/share/doc/only", content: "this" },
    { name: "usr/bin/", type: "5", mtime: "1500000003" },
    { name: "usr/bin/.wh.perl" },
    { name: "opt/", type: "5", mtime: "1500000004" },
    { name: "opt/capable", mode: 0o755, content: "x", xattrs: { "security.capability": capability } },
    { name: "opt/setuid", mode: 0o6755, uid: 1000, gid: 1000, content: "x" },
    { name: "opt/char", type: "3", device: [1, 3] },
    { name: "opt/block", type: "4", device: [7, 0], mode: 0o660, gid: 6 },
    { name: "opt/fifo", type: "6" },
    { name: "opt/linked", type: "1", link: "opt/setuid" },
    { name: "opt/latin1-\xe9", content: Buffer.alloc(3 << 20, "large") },
  ];
}

/**
 * Where overlayfs is wrong, and umoci as we are: containerd's differ gives a hard link's file the attributes of the link's entry,
 * and overlayfs tells the links that a file had before one of its names was removed above.
 */
const NOT_AS_OVERLAYFS = new Map<string, string | undefined>([
  ["/opt/linked mode", "106755"],
  ["/opt/linked owner", "1000:1000"],
  ["/opt/setuid mode", "106755"],
  ["/opt/setuid owner", "1000:1000"],
  ["/usr/bin/perl5.36.0 nlink", "1"],
  ["/usr/bin/perl5.36.0 links", undefined],
]);

test("a Debian image is seen as with containerd's overlayfs snapshotter, path by path", async () => {
  const script = fileURLToPath(new URL("../../../samples/demo/make-image.sh", import.meta.url));
  const layout = join(work, "debian");
  await cp((await run(script, ["small"])).stdout.trim(), layout, { recursive: true });
  await changeLayers(layout, (layers) => [...layers.slice(0, 2), gzipLayer(buildTar(changesToDebian()))]);
  const image = await publish(layout, "latest", "debian");
  const startSeconds = Date.now() / 1000;
  await lab.pull(image);
  await lab.pull(image, "overlayfs");
  const [theirs, ours] = [await describeImage(lab, image, "overlayfs"), await describeImage(lab, image, SNAPSHOTTER)];
  // overlayfs gives its root directory attributes of its own, and the time of unpacking to directories that a layer does not
  // name; the next test tells what is right there.
  const differences = compareTrees(theirs, ours, (path, fact, expected, found) => {
    if (path === "/" || (fact === "mtime" && Number(expected) >= startSeconds)) return true;
    const known = `${path} ${fact}`;
    return NOT_AS_OVERLAYFS.has(known) && NOT_AS_OVERLAYFS.get(known) === found;
  });
  assert.deepEqual(differences, []);
  assert.ok(ours.size > 3000 && !ours.has("/usr/bin/perl"), `${ours.size} paths`);
});

test("an image of all that the layer format can say is seen as umoci unpacks it", async () => {
  const layout = join(work, "edge");
  await writeEdgeImage(layout);
  const image = await publish(layout, "edge", "edge");
  await lab.pull(image);
  const umoci = describeTree(await unpackWithUmoci(layout, "edge", join(work, "edge-umoci")));
  const except = (path: string, fact: string) => fact === "mtime" && EDGE_UNPACK_TIMES.has(path);
  assert.deepEqual(compareTrees(umoci, await describeImage(lab, image, SNAPSHOTTER), except), []);
});

test("containers run, write, and do not see each other", async () => {
  const layout = join(work, "base");
  await writeImage(layout);
  const image = await publish(layout, "base", "base");
  await lab.pull(image);
  assert.equal(
    await runContainer(lab, image, "one", "/bin/sh", "-c", "echo -n mine >/data/change; cat /data/change"),
    "mine",
  );
  assert.equal(await runContainer(lab, image, "two", "/bin/cat", "/data/change"), "before");
  const readOnly = lab.ctr("run", "--snapshotter", SNAPSHOTTER, "--rm", "--read-only", image, "ro", "/bin/touch", "/x");
  await assert.rejects(readOnly, /Read-only file system/);
});

test("layers that the store has are not converted again, whatever is below them", async () => {
  const layout = join(work, "known");
  await cp(join(work, "base"), layout, { recursive: true });
  const below = buildTar([{ name: "below", content: "b" }]);
  await changeLayers(layout, (layers) => [gzipLayer(below), ...layers]);
  const image = await publish(layout, "base", "known");
  const before = await scrape(metrics);
  await lab.pull(image);
  const after = await scrape(metrics);
  const more = (series: string) => after(series) - before(series);
  assert.equal(more('blobd_snapshotter_conversion_seconds_count{cached="true"}'), 2);
  assert.equal(more('blobd_snapshotter_conversion_seconds_count{cached="false"}'), 1);
  assert.equal(more("blobd_snapshotter_converted_bytes_total"), below.length);
  assert.ok(after('blobd_snapshotter_store_bytes{kind="blob"}') > 1 << 20);
  assert.ok(after('blobd_snapshotter_store_entries{kind="layer"}') >= 3);
  assert.ok(after('blobd_snapshotter_call_seconds_count{method="Apply",code="OK"}') >= 3);
  assert.equal(await runContainer(lab, image, "known", "/bin/cat", "/below", "/data/keep"), "bkept");
});

test("20 containers at once", async () => {
  const image = reference("base");
  const outputs = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      runContainer(lab, image, `many-${i}`, "/bin/sh", "-c", `echo -n ${i} >/data/change; sleep 0.2; cat /data/change`),
    ),
  );
  assert.deepEqual(
    outputs,
    Array.from({ length: 20 }, (_, i) => `${i}`),
  );
});

const CHANGES = `
  rm -r /data/remove /gone
  echo -n after >/data/change
  rm -r /tree && mkdir /tree && echo -n new >/tree/new
  ln /data/keep /data/linked
  ln -s keep /data/soft
  chown 12:34 /data && chmod 750 /data
  mkdir -p /made/deep && touch /made/deep/file
  exit 0`;

test("a container's changes, committed, pushed and pulled, are what the container saw", async () => {
  const base = reference("base");
  await lab.ctr("run", "--snapshotter", SNAPSHOTTER, base, "changed", "/bin/sh", "-c", CHANGES);
  const target = join(lab.directory, "changed");
  await mkdir(target);
  const { stdout } = await lab.ctr("snapshots", "--snapshotter", SNAPSHOTTER, "mounts", target, "changed");
  await lab.run(lab.inside("sh", "-c", stdout));
  const seen = describeTree(lab.outside(target));
  await lab.run(lab.inside("umount", target));

  const file = join(work, "layer.tar.gz");
  const diff = lab.ctrCommand("snapshots", "--snapshotter", SNAPSHOTTER, "diff", "--keep", "changed");
  await run("sh", ["-c", '"$@" >"$0"', file, diff.command, ...diff.args]);
  const layout = join(work, "committed");
  await cp(join(work, "base"), layout, { recursive: true });
  const committed = { ...gzipLayer(Buffer.alloc(0)), bytes: await readFile(file), diffId: "" };
  const { stdout: sum } = await run("sh", ["-c", "gzip -dc | sha256sum"], { input: committed.bytes });
  committed.diffId = `sha256:${sum.slice(0, 64)}`;
  await changeLayers(layout, (layers) => [...layers, committed]);
  const image = await publish(layout, "base", "committed");
  await lab.pull(image);
  const pulled = await describeImage(lab, image, SNAPSHOTTER);
  const whole = (time: string | undefined) => time?.split(".")[0];
  const differences = compareTrees(seen, pulled, (path, fact, expected, found) => {
    if (fact === "mtime") return path === "/" || whole(expected) === whole(found);
    // What runc makes in a root directory so that it can mount there.
    return false;
  });
  assert.deepEqual(differences, []);
  // The same by containerd's own snapshotter and differ.
  await lab.pull(image, "overlayfs");
  const theirs = await describeImage(lab, image, "overlayfs");
  assert.deepEqual(
    compareTrees(theirs, pulled, (path, fact) => path === "/" || fact === "mtime"),
    [],
  );
  assert.equal(await runContainer(lab, image, "again", "/bin/cat", "/data/change", "/tree/new"), "afternew");
  await lab.ctr("containers", "rm", "changed");
});

test("a container in a user namespace sees the image's owners, and writes as its own root", async () => {
  const options = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
  const script = "ls -n /data/keep && echo mine >/data/mine && ls -n /data/mine";
  const image = reference("base");
  const args = ["run", "--snapshotter", SNAPSHOTTER, ...options, image, "mapped", "/bin/sh", "-c", script];
  const { stdout } = await lab.ctr(...args);
  assert.deepEqual(
    stdout.match(/^\S+ +1 +(\d+ +\d+)/gm)?.map((line) => line.split(/ +/).slice(2)),
    [
      ["0", "0"],
      ["0", "0"],
    ],
  );
  const uppers = (await lab.run(lab.inside("find", join(lab.root, "snapshots"), "-name", "mine", "-printf", "%U:%G")))
    .stdout;
  assert.equal(uppers, "100000:200000");
  await lab.ctr("containers", "rm", "mapped");
});

test("zstd and plain layers", async () => {
  const tar = buildTar([{ name: "data/keep", content: "compressed in another way" }]);
  const { stdout } = await run("sh", ["-c", "zstd -qc | base64 -w0"], { input: tar });
  const forms = { zstd: Buffer.from(stdout, "base64"), plain: tar };
  for (const [form, bytes] of Object.entries(forms)) {
    const layout = join(work, form);
    await cp(join(work, "base"), layout, { recursive: true });
    const mediaType = `application/vnd.oci.image.layer.v1.tar${form === "zstd" ? "+zstd" : ""}`;
    await changeLayers(layout, (layers) => [...layers, { mediaType, bytes, diffId: sha256(tar) }]);
    const image = await publish(layout, "base", form);
    await lab.pull(image);
    assert.equal(await runContainer(lab, image, form, "/bin/cat", "/data/keep"), "compressed in another way");
  }
});

test("a layer that lies about its content fails the pull, and the next pull is not harmed", async () => {
  const layout = join(work, "lying");
  await cp(join(work, "base"), layout, { recursive: true });
  await changeLayers(layout, ([first, second]) => [first!, { ...second!, diffId: `sha256:${"1".repeat(64)}` }]);
  await assert.rejects(lab.pull(await publish(layout, "base", "lying")), /wrong diff id/);

  const broken = join(work, "broken");
  await writeOciLayout(broken, "broken", [Buffer.alloc(10_000, "no tar")]);
  await assert.rejects(lab.pull(await publish(broken, "broken", "broken")), /not a tar header/);
  assert.equal(await runContainer(lab, reference("base"), "unharmed", "/bin/cat", "/data/keep"), "kept");
});

test("all removed: store, folders and mounts are as they were", async () => {
  assert.deepEqual(await removeAll(lab), NOTHING);
});
