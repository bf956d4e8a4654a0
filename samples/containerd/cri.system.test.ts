/**
 * Pods by Kubernetes' container runtime interface, as kubelet runs them, through the lab's containerd 2.1, from a registry that
 * wants credentials. The image is served on demand, by credentials that only kubelet has. Needs root.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { pushImage, type Registry, startRegistry, tempDir, writeOciLayout } from "../../builder/testkit/index.ts";
import { addConverted } from "./converted.ts";
import { ContainerdLab } from "./lab.ts";
import { imageLayers, NOTHING, removeAll, soon, TAG } from "./testing.ts";
import { type Cri, callCri, connectCri } from "./testing-cri.ts";

/** The user `kubelet` with the password `pulled`, and later `renewed`. */
const HTPASSWD = "kubelet:$2b$05$abcdefghijklmnopqrstuung8aajtWiAba.NDpYhMZACWKRI8nD0m\n";
const RENEWED = "kubelet:$2b$05$abcdefghijklmnopqrstuuQwGJsbwS4qKGorr6nNwFg4PbvdEUxI2\n";
const AUTH = { username: "kubelet", password: "pulled" };
const RENEWED_AUTH = { username: "kubelet", password: "renewed" };
const BASIC = Buffer.from("kubelet:pulled").toString("base64");

const work = tempDir();
let registry: Registry;
let lab: ContainerdLab;
let image: string;
let cri: Cri;

before(async () => {
  registry = await startRegistry({ htpasswd: HTPASSWD });
  image = `${registry.host}/private/app:1`;
  // For the tools that push; the snapshotter does not see this file.
  const config = join(work, "docker.json");
  writeFileSync(config, JSON.stringify({ auths: { [registry.host]: { auth: BASIC } } }));
  process.env.REGISTRY_AUTH_FILE = config;
  const publish = async () => {
    await writeOciLayout(join(work, "layout"), TAG, imageLayers(3, 8 << 20), { Cmd: ["/bin/sleep", "1000"] });
    await pushImage(join(work, "layout"), TAG, image);
    await addConverted(image, join(work, "store"), "referrer", config);
  };
  [lab] = await Promise.all([ContainerdLab.start({ sandboxImage: image }), publish()]);
  await lab.startServe();
  // Pods get the node's.
  await lab.run(lab.inside("touch", "/etc/hosts", "/etc/resolv.conf"));
  cri = connectCri(lab);
});
after(async () => {
  cri?.close();
  delete process.env.REGISTRY_AUTH_FILE;
  await lab?.stop();
  await registry?.stop();
});

const runtime = <T>(method: string, request: object) => callCri<T>(cri.runtime, method, request);
const images = <T>(method: string, request: object) => callCri<T>(cri.images, method, request);

const onNode = { namespaceOptions: { network: "NODE", pid: "CONTAINER", ipc: "POD" } };
let podSandboxId: string;
let containerId: string;
const sandbox = () => ({
  metadata: { name: "pod", uid: "1", namespace: "default" },
  logDirectory: join(lab.directory, "logs"),
  linux: { securityContext: onNode },
});

async function startContainer(name: string): Promise<string> {
  const config = {
    metadata: { name },
    image: { image },
    command: ["/bin/sleep", "1000"],
    logPath: `${name}.log`,
    linux: { securityContext: onNode },
  };
  const request = { podSandboxId, config, sandboxConfig: sandbox() };
  const { containerId } = await runtime<{ containerId: string }>("CreateContainer", request);
  await runtime("StartContainer", { containerId });
  return containerId;
}

async function inside(containerId: string, ...cmd: string[]): Promise<string> {
  const request = { containerId, cmd, timeout: 20 };
  const { stdout, stderr, exitCode } = await runtime<{ stdout: Buffer; stderr: Buffer; exitCode: number }>(
    "ExecSync",
    request,
  );
  assert.equal(exitCode, 0, stderr.toString());
  return stdout.toString();
}

test("without credentials nothing is pulled", async () => {
  await assert.rejects(
    soon(() => images("PullImage", { image: { image } }), 0),
    /authorization|401|credentials/i,
  );
});

test("kubelet's credentials go through us: the image is served, and its pod runs", async () => {
  await images("PullImage", { image: { image }, auth: AUTH });
  const { stdout } = await lab.ctr("--namespace", "k8s.io", "images", "check", `name==${image}`);
  assert.match(stdout, /incomplete \(1\/6\)/, "no layer was fetched");
  await images("ImageFsInfo", {});
  mkdirSync(lab.outside(sandbox().logDirectory), { recursive: true });
  ({ podSandboxId } = await runtime<{ podSandboxId: string }>("RunPodSandbox", { config: sandbox() }));
  containerId = await startContainer("app");
  assert.equal(await inside(containerId, "/bin/cat", "/data/keep"), "kept");
});

test("the pod lives on without the snapshotter, and reads from the registry what it had not read", async () => {
  await lab.kill("snapshotter");
  assert.equal(Number(await inside(containerId, "/bin/sh", "-c", "cat /large-0 | wc -c")), 8 << 20);
  await lab.startSnapshotter();
  assert.equal(Number(await inside(containerId, "/bin/sh", "-c", "cat /large-1 | wc -c")), 8 << 20);
});

test("credentials that are renewed: the pod reads on with those of the next pull", async () => {
  writeFileSync(join(dirname(registry.storage), "htpasswd"), RENEWED);
  await soon(() => images("ImageFsInfo", {})); // Our own connection to a snapshotter that came back takes a while.
  await assert.rejects(images("PullImage", { image: { image }, auth: AUTH }), /authorization|401|credentials/i);
  await soon(() => images("PullImage", { image: { image }, auth: RENEWED_AUTH }));
  assert.equal(Number(await inside(containerId, "/bin/sh", "-c", "cat /large-2 | wc -c")), 8 << 20);
});

test("a node that goes over to overlayfs: its pods live on, and new ones run as soon as the image was pulled", async () => {
  const config = join(lab.directory, "config.toml");
  const text = readFileSync(config, "utf8");
  const other = text.replace(/(cri\.v1\.images"\]\n {2}snapshotter = )"erofsify"/, '$1"overlayfs"');
  assert.notEqual(other, text);
  await lab.kill("containerd");
  writeFileSync(config, other);
  await lab.startContainerd();
  assert.equal(await soon(() => inside(containerId, "/bin/cat", "/data/keep")), "kept");
  await soon(() => images("PullImage", { image: { image }, auth: RENEWED_AUTH }));
  const theirs = await startContainer("theirs");
  assert.match(await inside(theirs, "/bin/cat", "/proc/mounts"), /snapshotter\.v1\.overlayfs/);
  assert.equal(Number(await inside(theirs, "/bin/sh", "-c", "cat /large-* | wc -c")), 3 * (8 << 20));
  // And back: the image is known here.
  await lab.kill("containerd");
  writeFileSync(config, text);
  await lab.startContainerd();
  const ours = await soon(() => startContainer("ours"));
  assert.doesNotMatch(await inside(ours, "/bin/cat", "/proc/mounts"), /snapshotter\.v1\.overlayfs/);
  for (const one of [containerId, theirs, ours]) assert.equal(await inside(one, "/bin/cat", "/data/keep"), "kept");
});

test("removed, nothing is left", async () => {
  await soon(() => runtime("StopPodSandbox", { podSandboxId }));
  await soon(() => runtime("RemovePodSandbox", { podSandboxId }));
  await soon(() => images("RemoveImage", { image: { image } }));
  assert.deepEqual(await removeAll(lab), NOTHING);
});
