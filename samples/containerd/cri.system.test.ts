/**
 * Pods by Kubernetes' container runtime interface, as kubelet runs them, through the lab's containerd 2.1, from a registry that
 * wants credentials. The image is served on demand, by credentials that only kubelet has. Needs root.
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { pushImage, type Registry, startRegistry, tempDir, writeOciLayout } from "../../builder/testkit/index.ts";
import { addConverted } from "./converted.ts";
import { ContainerdLab } from "./lab.ts";
import { imageLayers, NOTHING, removeAll, soon, TAG } from "./testing.ts";

/** The user `kubelet` with the password `pulled`. */
const HTPASSWD = "kubelet:$2b$05$abcdefghijklmnopqrstuung8aajtWiAba.NDpYhMZACWKRI8nD0m\n";
const AUTH = { username: "kubelet", password: "pulled" };
const BASIC = Buffer.from("kubelet:pulled").toString("base64");
/** This file is dist/samples/containerd/cri.system.test.js when it runs. */
const PROTO = fileURLToPath(new URL("../../../samples/containerd/cri-test.proto", import.meta.url));

const work = tempDir();
let registry: Registry;
let lab: ContainerdLab;
let image: string;
/** A connection to containerd, and one to our proxy of its image service. */
let runtime: Client;
let images: Client;

before(async () => {
  registry = await startRegistry({ htpasswd: HTPASSWD });
  image = `${registry.host}/private/app:1`;
  // For the tools that push; the snapshotter does not see this file.
  const config = join(work, "docker.json");
  writeFileSync(config, JSON.stringify({ auths: { [registry.host]: { auth: BASIC } } }));
  process.env.REGISTRY_AUTH_FILE = config;
  await writeOciLayout(join(work, "layout"), TAG, imageLayers(2, 8 << 20), { Cmd: ["/bin/sleep", "1000"] });
  await pushImage(join(work, "layout"), TAG, image);
  await addConverted(image, join(work, "store"), "referrer", config);
  lab = await ContainerdLab.start({ sandboxImage: image });
  await lab.startServe();
  // Pods get the node's.
  await lab.run(lab.inside("touch", "/etc/hosts", "/etc/resolv.conf"));
  const services = loadPackageDefinition(loadSync(PROTO, { enums: String, defaults: true })) as unknown as {
    runtime: { v1: Record<"RuntimeService" | "ImageService", ServiceClientConstructor> };
  };
  const { RuntimeService, ImageService } = services.runtime.v1;
  runtime = new RuntimeService(`unix:${lab.socket}`, credentials.createInsecure());
  images = new ImageService(`unix:${lab.address}`, credentials.createInsecure());
});
after(async () => {
  for (const client of [runtime, images]) client?.close();
  delete process.env.REGISTRY_AUTH_FILE;
  await lab?.stop();
  await registry?.stop();
});

function call<T>(client: Client, method: string, request: object): Promise<T> {
  const invoke = (
    client as unknown as Record<string, (request: object, done: (e: Error | null, a: T) => void) => void>
  )[method]!;
  return new Promise((resolve, reject) =>
    invoke.call(client, request, (error, answer) => (error === null ? resolve(answer) : reject(error))),
  );
}

const onNode = { namespaceOptions: { network: "NODE", pid: "CONTAINER", ipc: "POD" } };
const sandbox = () => ({
  metadata: { name: "pod", uid: "1", namespace: "default" },
  logDirectory: join(lab.directory, "logs"),
  linux: { securityContext: onNode },
});

async function inside(containerId: string, ...cmd: string[]): Promise<string> {
  const request = { containerId, cmd, timeout: 20 };
  const { stdout, stderr, exitCode } = await call<{ stdout: Buffer; stderr: Buffer; exitCode: number }>(
    runtime,
    "ExecSync",
    request,
  );
  assert.equal(exitCode, 0, stderr.toString());
  return stdout.toString();
}

test("without credentials nothing is pulled", async () => {
  await assert.rejects(
    soon(() => call(images, "PullImage", { image: { image } }), 0),
    /authorization|401|credentials/i,
  );
});

let podSandboxId: string;
let containerId: string;
test("kubelet's credentials go through us: the image is served, and its pod runs", async () => {
  await call(images, "PullImage", { image: { image }, auth: AUTH });
  const { stdout } = await lab.ctr("--namespace", "k8s.io", "images", "check", `name==${image}`);
  assert.match(stdout, /incomplete \(1\/5\)/, "no layer was fetched");
  await call(images, "ImageFsInfo", {});
  mkdirSync(lab.outside(sandbox().logDirectory), { recursive: true });
  ({ podSandboxId } = await call<{ podSandboxId: string }>(runtime, "RunPodSandbox", { config: sandbox() }));
  const config = {
    metadata: { name: "app" },
    image: { image },
    command: ["/bin/sleep", "1000"],
    logPath: "app.log",
    linux: { securityContext: onNode },
  };
  const request = { podSandboxId, config, sandboxConfig: sandbox() };
  ({ containerId } = await call<{ containerId: string }>(runtime, "CreateContainer", request));
  await call(runtime, "StartContainer", { containerId });
  assert.equal(await inside(containerId, "/bin/cat", "/data/keep"), "kept");
});

test("the pod lives on without the snapshotter, and reads from the registry what it had not read", async () => {
  await lab.kill("snapshotter");
  assert.equal(Number(await inside(containerId, "/bin/sh", "-c", "cat /large-0 | wc -c")), 8 << 20);
  await lab.startSnapshotter();
  assert.equal(Number(await inside(containerId, "/bin/sh", "-c", "cat /large-1 | wc -c")), 8 << 20);
});

test("removed, nothing is left", async () => {
  await soon(() => call(runtime, "StopPodSandbox", { podSandboxId }));
  await soon(() => call(runtime, "RemovePodSandbox", { podSandboxId }));
  await soon(() => call(images, "RemoveImage", { image: { image } }));
  assert.deepEqual(await removeAll(lab), NOTHING);
});
