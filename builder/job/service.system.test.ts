import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  buildTar,
  erofsify,
  pushImage,
  type Registry,
  run,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";
import {
  AUTHORIZATION,
  authorizationFile,
  conversionsOf,
  freePort,
  getManifest,
  JobClient,
  type JobProcess,
  putImage,
  startJob,
  tinyImage,
  until,
} from "./testkit/index.ts";

// The service as it is run: `erofsify job serve` on its embedded queue, Debian's docker-registry that notifies it, skopeo.

const directory = tempDir();
const store = join(directory, "store");
const settings = {
  rules: [
    { repository: "scratch/**", convert: false },
    { repository: "arm/*", platforms: ["linux/arm64"] },
    { repository: "**", tag: "**" },
  ],
  retries: { limit: 1, delaySeconds: 1 },
  maxLayerMiB: 8,
};
let registry: Registry;
let service: JobProcess;
let client: JobClient;
let args: string[];

before(async () => {
  const port = await freePort();
  registry = await startRegistry({
    notify: { url: `http://127.0.0.1:${port}/api/v1/notifications`, authorization: AUTHORIZATION },
  });
  const config = join(directory, "job.json");
  await run("tee", [config], { input: JSON.stringify({ ...settings, registries: [registry.host] }) });
  args = ["serve", "--listen", `127.0.0.1:${port}`, "--config", config, "--store", store];
  args.push(
    "--database",
    join(directory, "queue"),
    "--authorization-file",
    authorizationFile(directory),
    "--drain",
    "1",
  );
  service = await startJob(args);
  client = new JobClient(port);
});
after(async () => {
  await service.stop();
  await registry.stop();
});

const tiny = (name: string) => tinyImage([{ name, content: name }]);
const jobOf = async (image: string, query = "") =>
  (await client.jobs(query)).find(({ source }) => source.startsWith(`${registry.host}/${image}`));
/** Waits until the conversion of an image has ended. */
async function ended(image: string, query = "") {
  let job = await jobOf(image, query);
  await until(`the conversion of ${image} has ended`, async () => {
    job = await jobOf(image, query);
    return job !== undefined && !["looking", "queued", "running"].includes(job.status);
  });
  return job!;
}

test("skopeo copies an image into the registry, and its converted form is there", async () => {
  const content = "the same line again\n".repeat(50_000);
  await writeOciLayout(join(directory, "layout"), "v1", [
    buildTar([{ name: "bottom", content }]),
    buildTar([{ name: "top", content: "top" }]),
  ]);
  await pushImage(join(directory, "layout"), "v1", `${registry.host}/team/app:1.0`);
  const job = await ended("team/app:1.0");
  assert.deepEqual([job.status, job.reason, job.target], ["done", null, `${registry.host}/team/app:1.0-erofs`]);
  const converted = await getManifest(registry.host, "team/app", "1.0-erofs");
  assert.equal(converted?.digest, job.targetDigest);
  assert.match(converted?.manifest.layers.at(-1).mediaType, /^application\/vnd\.erofs/);
  assert.equal(
    job.targetBytes,
    converted?.manifest.layers.reduce((sum: number, { size }: { size: number }) => sum + size, 0),
  );
  // What the store has is what was pushed.
  const check = await erofsify(["check", "--store", store, `${registry.host}/team/app@${job.digest}`]);
  assert.equal(check.status, 0, check.stderr);
});

test("what the service pushes itself starts nothing, told by the registry or copied by somebody else", async () => {
  await run("skopeo", [
    ...["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"],
    ...[`docker://${registry.host}/team/app:1.0-erofs`, `docker://${registry.host}/copies/app:1`],
  ]);
  const ignored = await ended("copies/app:1", "&status=ignored");
  assert.match(ignored.reason!, /is converted already/);
  assert.equal((await client.jobs()).length, 1);
});

test("a second push of the same digest is answered by the first conversion, until its result is removed", async () => {
  const before = await jobOf("team/app:1.0");
  await pushImage(join(directory, "layout"), "v1", `${registry.host}/team/app:1.0`);
  await until("the event is counted", async () => (await jobOf("team/app:1.0"))!.events > before!.events);
  assert.equal((await jobOf("team/app:1.0"))!.id, before!.id);
  const url = `http://${registry.host}/v2/team/app/manifests/${before!.targetDigest}`;
  assert.equal((await fetch(url, { method: "DELETE" })).status, 202);
  await pushImage(join(directory, "layout"), "v1", `${registry.host}/team/app:1.0`);
  await until("it is converted anew", async () => {
    const [newest] = await client.jobs();
    return newest!.id !== before!.id && newest!.status === "done";
  });
  assert.equal((await getManifest(registry.host, "team/app", "1.0-erofs"))?.digest, before!.targetDigest);
});

test("rules: some repositories are left alone, others only for some platforms", async () => {
  await putImage(registry.host, "scratch/x", "1", tiny("x"));
  await putImage(registry.host, "arm/x", "1", tiny("x"));
  await putImage(registry.host, "arm/y", "1", tinyImage([{ name: "y" }], "arm64"));
  assert.match((await ended("scratch/x", "&status=ignored")).reason!, /no rule wants it/);
  assert.match((await ended("arm/x", "&status=ignored")).reason!, /is for linux\/amd64, which nobody wants/);
  assert.equal((await ended("arm/y")).status, "done");
});

test("an index: each platform is converted", async () => {
  const manifests = [];
  for (const architecture of ["amd64", "arm64"]) {
    const image = tinyImage([{ name: "of", content: architecture }], architecture);
    const digest = await putImage(registry.host, "multi/app", architecture, image);
    const { mediaType } = image.manifest;
    const size = JSON.stringify(image.manifest).length;
    manifests.push({ mediaType, digest, size, platform: { os: "linux", architecture } });
  }
  const index = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests };
  await putImage(registry.host, "multi/app", "1", { manifest: index, blobs: [] });
  const job = await ended("multi/app:1");
  assert.deepEqual([job.status, job.reason], ["done", null]);
  for (const platform of ["amd64", "arm64"])
    assert.ok(await getManifest(registry.host, "multi/app", `1-erofs-linux-${platform}`), platform);
});

test("images that cannot be converted: what is wrong is told, once, without attempts in vain", async () => {
  const image = tiny("broken");
  const { layers } = image.manifest;
  const noise = Buffer.alloc(4096, "no tar at all ");
  const broken = tinyImage([]);
  const layer = { mediaType: layers[0]!.mediaType, size: noise.length, digest: digestOf(noise) };
  const manifest = { ...broken.manifest, layers: [layer] };
  await putImage(registry.host, "bad/tar", "1", { manifest, blobs: [broken.blobs[0]!, noise] });
  const failed = await ended("bad/tar");
  assert.deepEqual([failed.status, failed.attempt, failed.errorCode], ["failed", 1, "ERR_BAD_VALUE"]);

  const artifact = {
    ...image.manifest,
    config: { ...image.manifest.config, mediaType: "application/vnd.example.signature" },
  };
  await putImage(registry.host, "bad/artifact", "1", { manifest: artifact, blobs: image.blobs });
  assert.match((await ended("bad/artifact", "&status=ignored")).reason!, /is no image but an artifact/);

  const bomb = tinyImage([{ name: "large", content: Buffer.alloc(9 << 20, "0123456789abcdef and more") }]);
  await putImage(registry.host, "bad/large", "1", bomb);
  assert.deepEqual(await ended("bad/large").then(({ status, errorCode }) => [status, errorCode]), [
    "failed",
    "ERR_STORE_LIMIT",
  ]);
});

test("an image deleted meanwhile, a tag that moved on", async () => {
  const gone = await client.start(`${registry.host}/nobody/nothing:1`);
  assert.deepEqual(await client.waitFor(gone, "failed").then(({ errorCode, reason }) => [errorCode, reason]), [
    "ERR_NOT_FOUND",
    "is not in the registry",
  ]);
  const old = await putImage(registry.host, "moved/app", "1", tiny("old"));
  const now = await putImage(registry.host, "moved/app", "1", tiny("new"));
  await ended("moved/app:1");
  const outdated = await client.start(`${registry.host}/moved/app:1@${old}`);
  assert.equal((await client.waitFor(outdated, "failed")).errorCode, "ERR_MOVED");
  const jobs = (await client.jobs()).filter(({ source, status }) => source.includes("moved/app") && status === "done");
  assert.equal(jobs.at(0)?.digest, now, "the tag's converted image is the newest's");
});

test("a running conversion is cancelled: its process ends, the store stays clean, nothing is pushed", async () => {
  // Large enough to be caught in the act; incompressible, so that it takes its time.
  const entries = Array.from({ length: 60 }, (_, i) => ({ name: `f${i}`, content: randomBytes(100_000) }));
  await putImage(registry.host, "slow/app", "1", tinyImage(entries));
  await until("it runs", async () => (await jobOf("slow/app"))?.status === "running", 30_000, 10);
  const { id } = (await jobOf("slow/app"))!;
  assert.equal((await client.fetch(`/api/v1/jobs/${id}/cancel`, { method: "POST" })).status, 202);
  assert.equal((await client.waitFor(id, "cancelled", "done", "failed")).status, "cancelled");
  assert.equal(await getManifest(registry.host, "slow/app", "1-erofs"), undefined);
  // And converted after all, when somebody wants it.
  assert.equal((await client.fetch(`/api/v1/jobs/${id}/retry`, { method: "POST" })).status, 202);
  assert.equal((await client.waitFor(id, "done", "failed")).status, "done");
});

test("a conversion whose process is killed is tried again, and the service goes on", async () => {
  const entries = Array.from({ length: 50 }, (_, i) => ({ name: `f${i}`, content: randomBytes(100_000) }));
  await putImage(registry.host, "shot/app", "1", tinyImage(entries));
  await until("its process is there", () => conversionsOf(service).length > 0, 30_000, 5);
  for (const pid of conversionsOf(service)) process.kill(pid, "SIGKILL");
  const job = await ended("shot/app");
  assert.deepEqual([job.status, job.attempt], ["done", 2]);
});

test("SIGTERM gives what is under way back to the queue, and the next service goes on", async () => {
  const names = ["term/one", "term/two", "term/three"];
  await Promise.all(names.map((name) => putImage(registry.host, name, "1", tiny(name))));
  await until("conversions are under way", () => conversionsOf(service).length > 0, 30_000, 5);
  await service.stop();
  assert.equal(service.child.exitCode, 0, service.log());
  for (const line of service.log().trim().split("\n")) assert.doesNotThrow(() => JSON.parse(line), line);
  service = await startJob(args);
  for (const name of names) assert.equal((await ended(name)).status, "done");
});

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
