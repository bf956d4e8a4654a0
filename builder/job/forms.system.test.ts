import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  pushImage,
  type Registry,
  run,
  startRegistry,
  writeOciLayout,
} from "../testkit/index.ts";
import {
  AUTHORIZATION,
  authorizationFile,
  freePort,
  getManifest,
  JobClient,
  type JobProcess,
  putImage,
  startJob,
  tinyImage,
  until,
} from "./testkit/index.ts";

// From a push by skopeo to a guest: the registry tells, the service converts, `erofsify run --lazy` of the image's own name finds
// what it made, in the image's index or attached to it.

const INDEX = "application/vnd.oci.image.index.v1+json";
const directory = mkdtempSync(join(tmpdir(), "erofsify-forms-"));
const at = (name: string) => join(directory, name);
let registry: Registry;
let service: JobProcess;
let client: JobClient;

before(async () => {
  const port = await freePort();
  const notify = { url: `http://127.0.0.1:${port}/api/v1/notifications`, authorization: AUTHORIZATION };
  registry = await startRegistry({ notify });
  const rules = [
    { repository: "indexed/*", form: "index" },
    { repository: "attached/*", form: "referrer", verity: true },
  ];
  await run("tee", [at("job.json")], { input: JSON.stringify({ rules, registries: [registry.host] }) });
  const args = ["serve", "--listen", `127.0.0.1:${port}`, "--config", at("job.json"), "--store", at("store")];
  service = await startJob([...args, "--database", at("queue"), "--authorization-file", authorizationFile(directory)]);
  client = new JobClient(port);
  const files = [...busyboxLayer(["sh", "cat"]), { name: "hello", content: "from a converted image\n" }];
  await writeOciLayout(at("layout"), "v1", [buildTar(files)], { Cmd: ["cat", "/hello"] });
});
after(async () => {
  await service?.stop();
  await registry?.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  await until("the guest's daemon has ended", () => !isMounted());
  rmSync(directory, { recursive: true, force: true });
});

const jobsOf = async (image: string) =>
  (await client.jobs()).filter(({ source }) => source.startsWith(`${registry.host}/${image}`));

/** Pushes the image under a name, and waits until it is converted. */
async function converted(image: string) {
  await pushImage(at("layout"), "v1", `${registry.host}/${image}`);
  await until(`${image} is converted`, async () => (await jobsOf(image))[0]?.status === "done");
  return (await jobsOf(image))[0]!;
}

interface Layer {
  readonly annotations: Readonly<Record<string, string>>;
}

async function runLazily(image: string): Promise<string> {
  const env = { ...(await guestEnvironment()), EROFSIFY_STORE: at("lazy-store"), EROFSIFY_SERVE_IDLE: "1" };
  const args = ["run", "--lazy", "--quiet", "--timeout", "100", `${registry.host}/${image}`];
  const { status, stdout, stderr } = await erofsify(args, { env });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("a pushed image becomes an index in its own place, and a guest starts from it before it has arrived", async () => {
  const job = await converted("indexed/app:1");
  const { manifest, digest } = (await getManifest(registry.host, "indexed/app", "1"))!;
  assert.equal(job.targetDigest, digest);
  assert.deepEqual(
    manifest.manifests.map(({ digest }: { digest: string }) => digest === job.digest),
    [true, false],
  );
  assert.equal(await runLazily("indexed/app:1"), "from a converted image\n");
});

test("converted again in its place, it is the same", async () => {
  const [job] = await jobsOf("indexed/app:1");
  assert.equal((await client.fetch(`/api/v1/jobs/${job!.id}/retry`, { method: "POST" })).status, 202);
  const again = await client.waitFor(job!.id, "done", "failed");
  assert.deepEqual([again.status, again.reason, again.targetDigest], ["done", null, job!.targetDigest]);
});

test("a pushed image gets its converted form attached, here with hash trees, and stays as it is", async () => {
  const job = await converted("attached/app:1");
  const { layers } = (await getManifest(registry.host, "attached/app", job.targetDigest!))!.manifest;
  const roots = layers.map((layer: Layer) => layer.annotations["org.erofs.dmverity.root_digest"]);
  assert.deepEqual([job.verity, roots.length], [true, 2]);
  for (const root of roots) assert.match(root, /^sha256:[0-9a-f]{64}$/);
  assert.equal((await jobsOf("indexed/app:1"))[0]!.verity, false);
  assert.equal((await getManifest(registry.host, "attached/app", "1"))?.digest, job.digest);
  assert.equal(job.target, null);
  const { status, stdout, stderr } = await erofsify([
    ...["convert", "--json", "--store", at("pulled"), `${registry.host}/attached/app:1`],
  ]);
  assert.equal(status, 0, stderr);
  const { how, manifestDigest } = JSON.parse(stdout).converted;
  assert.deepEqual([how, manifestDigest], ["referrer", job.targetDigest]);
  const page = await (await client.fetch(`/jobs/${job.id}`)).text();
  assert.match(page, new RegExp(`attached to ${registry.host}/attached/app@${job.digest}`));
});

test("what the service has pushed itself starts nothing, and a push of the same again is answered by what is there", async () => {
  await pushImage(at("layout"), "v1", `${registry.host}/attached/app:1`);
  await until("it is answered", async () => (await jobsOf("attached/app"))[0]!.events > 1);
  const all = await client.jobs();
  assert.deepEqual(
    all.map(({ source, status }) => [source.split("@")[0], status]),
    [
      [`${registry.host}/attached/app:1`, "done"],
      [`${registry.host}/indexed/app:1`, "done"],
    ],
  );
  // The same by somebody else's hand.
  const { digest } = all[0]!;
  await putAgain("indexed/app", "1", "copied");
  await putAgain("attached/app", `sha256-${digest.slice(7)}`, `sha256-${digest.slice(7)}`);
  for (const why of ["is converted already", "lists what is attached to an image"])
    await until(why, async () => (await client.jobs("&status=ignored")).some(({ reason }) => reason === why), 20_000);
});

test("an index of two platforms becomes one with their converted images in its own place; converted again, the same", async () => {
  const manifests = [];
  for (const architecture of ["amd64", "arm64"]) {
    const image = tinyImage([{ name: "of", content: architecture }], architecture);
    const bytes = Buffer.from(JSON.stringify(image.manifest));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    await putImage(registry.host, "indexed/multi", digest, image);
    const { mediaType } = image.manifest;
    manifests.push({ mediaType, digest, size: bytes.length, platform: { os: "linux", architecture } });
  }
  const index = { schemaVersion: 2, mediaType: INDEX, manifests, annotations: { "org.example.kept": "yes" } };
  const source = await putImage(registry.host, "indexed/multi", "1", { manifest: index, blobs: [] });
  const ended = async () => (await jobsOf("indexed/multi:1")).find(({ status }) => status === "done");
  await until("it is converted", async () => (await ended()) !== undefined);
  const job = (await ended())!;
  assert.equal(job.digest, source);
  const made = (await getManifest(registry.host, "indexed/multi", "1"))!;
  assert.equal(made.digest, job.targetDigest);
  assert.deepEqual(
    [made.manifest.manifests.slice(0, 2), made.manifest.manifests.length, made.manifest.annotations],
    [manifests, 4, index.annotations],
  );
  assert.equal((await client.fetch(`/api/v1/jobs/${job.id}/retry`, { method: "POST" })).status, 202);
  const again = await client.waitFor(job.id, "done", "failed", "ignored");
  assert.deepEqual([again.status, again.reason, again.targetDigest], ["done", null, made.digest]);
});

/** Pushes a manifest that is there under a tag, as another client would. */
async function putAgain(repository: string, from: string, to: string): Promise<void> {
  const url = `http://${registry.host}/v2/${repository}/manifests`;
  const body = await (await fetch(`${url}/${from}`, { headers: { accept: INDEX } })).arrayBuffer();
  const answer = await fetch(`${url}/${to}`, { method: "PUT", headers: { "content-type": INDEX }, body });
  assert.equal(answer.status, 201);
}
