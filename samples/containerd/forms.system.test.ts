/**
 * Converted images in a registry, as the lab's containerd 2.1 sees them without us: its own erofs snapshotter pulls and runs the
 * form that is for it; every other form is an image to it like any. Needs root, and the network the first time.
 */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { SnapshotsClient } from "../../blobd/snapshotter/testing.ts";
import { mount, mountErofs, unmount } from "../../blobd/sys/index.ts";
import {
  buildTar,
  busyboxLayer,
  compareTrees,
  describeTree,
  erofsify,
  pushImage,
  type Registry,
  run,
  startRegistry,
  type TarEntry,
  tempDir,
  unpackWithUmoci,
  writeOciLayout,
} from "../../builder/testkit/index.ts";
import { ContainerdLab } from "./lab.ts";
import { describeImage, NOTHING, removeAll } from "./testing.ts";

const VM_LABEL = "containerd.io/snapshot/erofsify.vm";
const work = tempDir();
const layout = join(work, "layout");
let lab: ContainerdLab;
let registry: Registry;

/** Layers that take away, hide, imply and change. */
const LAYERS: readonly (readonly TarEntry[])[] = [
  [
    ...busyboxLayer(["sh", "cat", "ls"]),
    { name: "data/", type: "5", mode: 0o750, uid: 12, gid: 34, mtime: "1400000000" },
    { name: "data/kept", content: "kept\n", mtime: "1400000001" },
    { name: "data/removed", content: "x" },
    { name: "hidden/", type: "5", mtime: "1400000002" },
    { name: "hidden/below", content: "x" },
    { name: "deep/", type: "5", mode: 0o711, mtime: "1400000003" },
    { name: "deep/er/", type: "5", mode: 0o700, uid: 7, mtime: "1400000004" },
  ],
  [
    // Of data and deep it says nothing itself.
    { name: "data/.wh.removed" },
    { name: "data/added", content: Buffer.alloc(5 << 20, "large and larger\n"), mtime: "1500000000" },
    { name: "deep/er/file", content: "deep\n", mtime: "1500000001" },
    { name: "hidden/", type: "5", mode: 0o755, mtime: "1500000002" },
    { name: "hidden/.wh..wh..opq" },
    { name: "hidden/above", content: "y", mtime: "1500000003" },
  ],
  [
    { name: "deep/er/other", type: "1", link: "deep/er/own" },
    { name: "deep/er/own", content: "own\n" },
  ].reverse() as TarEntry[],
];

before(async () => {
  [lab, registry] = await Promise.all([ContainerdLab.start(), startRegistry()]);
  await writeOciLayout(
    layout,
    "v1",
    LAYERS.map((entries) => buildTar([...entries])),
    { Cmd: ["sh", "-c", "cat /data/kept /deep/er/file; ls /hidden"] },
  );
  await pushImage(layout, "v1", `${registry.host}/app:1`);
});
after(async () => {
  await lab?.stop();
  await registry?.stop();
});

const reference = (tag: string) => `${registry.host}/app:${tag}`;

async function push(...options: string[]): Promise<void> {
  const { status, stderr } = await erofsify(["push", "--store", join(work, "store"), reference("1"), ...options]);
  assert.equal(status, 0, stderr);
}

test("containerd's own snapshotter pulls the form of its version, sees the image path by path, and runs it", async () => {
  await push("--format", "containerd-2.1");
  const image = reference("1-containerd-2.1");
  await lab.pull(image, "erofs");
  const { stdout } = await lab.ctr("run", "--snapshotter", "erofs", "--rm", image, "native");
  assert.equal(stdout, "kept\ndeep\nabove\n");
  const umoci = describeTree(await unpackWithUmoci(layout, "v1", join(work, "umoci")));
  // overlayfs gives its root the time at which it was put together.
  const except = (path: string, fact: string) => path === "/" && fact === "mtime";
  assert.deepEqual(compareTrees(umoci, await describeImage(lab, image, "erofs"), except), []);
});

test("the form for later versions holds the same file systems in zstd", async () => {
  await push("--format", "containerd");
  const [native, later] = await Promise.all(["1-containerd-2.1", "1-containerd"].map((tag) => layersOf(tag)));
  assert.deepEqual(new Set(later!.map(({ mediaType }) => mediaType)), new Set(["application/vnd.erofs.layer.v1+zstd"]));
  for (const [i, { digest }] of later!.entries()) {
    const blob = Buffer.from(await (await fetch(`http://${registry.host}/v2/app/blobs/${digest}`)).arrayBuffer());
    const { stdout } = await run("sh", ["-c", "zstd -d -c | sha256sum"], { input: blob });
    assert.equal(`sha256:${stdout.slice(0, 64)}`, native![i]!.digest);
  }
});

async function layersOf(tag: string): Promise<{ mediaType: string; digest: string }[]> {
  const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
  const response = await fetch(`http://${registry.host}/v2/app/manifests/${tag}`, { headers });
  return ((await response.json()) as { layers: { mediaType: string; digest: string }[] }).layers;
}

test("an index has the tar layers first, and containerd takes those; what is attached does not disturb it", async () => {
  await push("--as", "index", "--to", reference("both"));
  await push("--as", "referrer");
  await lab.pull(reference("both"), "overlayfs");
  await lab.pull(reference("1"), "overlayfs");
  const { stdout } = await lab.ctr("run", "--snapshotter", "overlayfs", "--rm", reference("both"), "both");
  assert.equal(stdout, "kept\ndeep\nabove\n");
});

test("each layer as a mount of its own, as containerd's mount manager puts them together, is the image", async (t) => {
  // By a name that has no converted form, which would be one mount.
  const image = `${registry.host}/plain:1`;
  await pushImage(layout, "v1", image);
  await lab.pull(image);
  const snapshotter = new SnapshotsClient(lab.address);
  t.after(() => snapshotter.close());
  const all = await snapshotter.list();
  const top = all.find(({ kind, name }) => kind === "COMMITTED" && !all.some(({ parent }) => parent === name))!;
  const mounts = await snapshotter.prepare("layered", top.name, { [VM_LABEL]: "layered" });
  assert.deepEqual(await snapshotter.mounts("layered"), mounts, "Mounts says what Prepare said");
  const overlay = mounts.at(-1)!;
  assert.deepEqual(
    mounts.map(({ type }) => type),
    [...LAYERS.map(() => "erofs"), "format/overlay"],
  );
  assert.equal(overlay.options.at(-1), "lowerdir={{ overlay 0 2 }}");
  const folder = (name: string) => {
    mkdirSync(join(work, name));
    return join(work, name);
  };
  const places = mounts.slice(0, -1).map(({ source, options }, i) => {
    const target = folder(`layer-${i}`);
    const devicePaths = options.filter((one) => one.startsWith("device=")).map((one) => one.slice("device=".length));
    mountErofs({ metaPath: source, devicePaths, target });
    t.after(() => unmount(target));
    return target;
  });
  const target = folder("layers");
  const options = overlay.options.map((one) => one.replace("{{ overlay 0 2 }}", places.join(":")));
  mount({ type: "overlay", source: "overlay", target, options });
  try {
    const umoci = describeTree(await unpackWithUmoci(layout, "v1", join(work, "umoci-layered")));
    const except = (path: string, fact: string) => path === "/" && fact === "mtime";
    assert.deepEqual(compareTrees(umoci, describeTree(target), except), []);
  } finally {
    unmount(target);
  }
  await snapshotter.remove("layered");
  assert.deepEqual(await removeAll(lab), NOTHING);
});
