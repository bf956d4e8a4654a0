import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  buildTar,
  erofsify,
  getManifest,
  pushImage,
  putImage,
  type Registry,
  run,
  startReferrersProxy,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Where converted images stand: in an index behind their source, attached to it, under a tag of their own. Debian's
// docker-registry and skopeo; the registry's missing referrers API by a proxy.

const directory = tempDir();
const at = (name: string) => join(directory, name);
let registry: Registry;
let source: Fetched;

const EROFS = "application/vnd.erofs.image.v1";
const TYPES = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"];

before(async () => {
  registry = await startRegistry();
  const bottom = buildTar([
    { name: "random", content: randomBytes(2_500_000) },
    { name: "text", content: "the same line again\n".repeat(100_000) },
  ]);
  await writeOciLayout(at("layout"), "v1", [bottom, buildTar([{ name: "more", content: "more\n" }])], {});
  await pushImage(at("layout"), "v1", `${registry.host}/test/app:1`);
  source = (await manifest("test/app", "1"))!;
});
after(() => registry.stop());

interface Entry {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly platform?: { readonly architecture: string; readonly "os.features"?: readonly string[] };
}
interface Fetched {
  readonly digest: string;
  readonly bytes: Buffer;
  readonly manifest: {
    readonly mediaType: string;
    readonly manifests: Entry[];
    readonly config: Entry;
    readonly layers: Entry[];
    readonly subject?: Entry;
    readonly artifactType?: string;
    readonly annotations?: Record<string, string>;
  };
}

const manifest = (repository: string, name: string): Promise<Fetched | undefined> =>
  getManifest(registry.host, repository, name);

const put = (repository: string, name: string, document: object, mediaType = TYPES[0]!) => {
  const whole = { schemaVersion: 2, mediaType, ...document };
  return putImage(registry.host, repository, name, { manifest: whole, blobs: [] });
};

async function push(store: string, image: string, ...options: string[]) {
  const { status, stdout, stderr } = await erofsify(["push", "--json", "--store", at(store), image, ...options]);
  assert.equal(status, 0, stderr);
  return { result: JSON.parse(stdout) as { manifestDigest: string; images: { sourceDigest: string }[] }, stderr };
}

async function pull(store: string, image: string, ...options: string[]) {
  const args = ["convert", "--json", "--store", at(store), image, ...options];
  const { status, stdout, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  const json = JSON.parse(stdout);
  return {
    how: json.converted?.how as string | undefined,
    blobs: json.blobs,
    stderr,
    manifestDigest: json.manifestDigest,
  };
}

const app = (name = "app:1") => `${registry.host}/test/${name}`;
const inspect = async (image: string, ...options: string[]) =>
  JSON.parse((await run("skopeo", ["inspect", "--tls-verify=false", ...options, `docker://${image}`])).stdout);

test("attached: the source stays as it is, beside its signature; another store finds and fetches it", async () => {
  const signature = {
    mediaType: TYPES[0],
    digest: source.digest,
    size: 1,
    artifactType: "application/vnd.example.sig",
  };
  const tag = `sha256-${source.digest.slice(7)}`;
  await put("test/app", tag, { manifests: [signature], annotations: { kept: "yes" } }, TYPES[1]);
  const { result } = await push("store", app(), "--as", "referrer");
  assert.equal(result.images[0]?.sourceDigest, source.digest);
  const list = (await manifest("test/app", tag))!;
  assert.deepEqual(
    list.manifest.manifests.map(({ digest, artifactType }) => [digest, artifactType]),
    [
      [result.manifestDigest, EROFS],
      [source.digest, signature.artifactType],
    ],
  );
  assert.deepEqual(list.manifest.annotations, { kept: "yes" });
  const attached = (await manifest("test/app", result.manifestDigest))!;
  assert.equal(attached.manifest.artifactType, EROFS);
  assert.deepEqual(attached.manifest.subject, {
    mediaType: TYPES[0],
    digest: source.digest,
    size: source.bytes.length,
  });
  assert.equal((await manifest("test/app", "1"))?.digest, source.digest);
  // Twice is once; from another store, the same bytes.
  await push("store", app(), "--as", "referrer");
  const other = await push("store-2", app(), "--as", "referrer");
  assert.equal(other.result.manifestDigest, result.manifestDigest);
  assert.equal((await manifest("test/app", tag))?.digest, list.digest);
  const made = await pull("store", app(), "--from-source");
  const pulled = await pull("puller", app());
  assert.deepEqual([made.how, pulled.how, pulled.blobs], [undefined, "referrer", made.blobs]);
  assert.equal(pulled.manifestDigest, source.digest);
  const pinned = `${registry.host}/test/app@${source.digest}`;
  assert.equal((await pull("pinned", pinned)).how, undefined);
  assert.equal((await pull("pinned", pinned, "--trust-referrers")).how, "referrer");
  assert.equal((await inspect(`${registry.host}/test/app@${result.manifestDigest}`)).Digest, result.manifestDigest);
});

test("attached where the registry lists by itself: no tag is written, and it is found by the API", async () => {
  const proxy = await startReferrersProxy(registry.host);
  try {
    await pushImage(at("layout"), "v1", `${registry.host}/test/api:1`);
    const image = `${proxy.host}/test/api:1`;
    await push("store", image, "--as", "referrer");
    assert.equal(await manifest("test/api", `sha256-${source.digest.slice(7)}`), undefined);
    const before = proxy.requests.length;
    assert.equal((await pull("api-puller", image)).how, "referrer");
    const asked = proxy.requests
      .slice(before)
      .filter((line) => line.includes("/referrers/") || line.includes("sha256-"));
    assert.deepEqual(
      asked.map((line) => line.replace(/.*\/(referrers)\/.*artifactType=(.*)/, "$1 $2")),
      [`referrers ${encodeURIComponent(EROFS)}`],
    );
  } finally {
    proxy.stop();
  }
});

test("an index in the image's place: its source first and untouched, found by all, used by each in its own way", async () => {
  await pushImage(at("layout"), "v1", app("multi:1"));
  const { result } = await push("store", app("multi:1"), "--as", "index");
  const index = (await manifest("test/multi", "1"))!;
  assert.equal(result.manifestDigest, index.digest);
  const [tar, erofs, ...more] = index.manifest.manifests;
  assert.deepEqual([tar?.digest, tar?.size, more], [source.digest, source.bytes.length, []]);
  assert.equal(tar?.platform?.["os.features"], undefined);
  assert.deepEqual(erofs?.platform?.["os.features"], ["erofs"]);
  assert.equal(erofs?.platform?.architecture, tar?.platform?.architecture);
  const converted = (await manifest("test/multi", erofs!.digest))!;
  assert.equal(converted.manifest.annotations?.["io.erofsify.source.digest"], source.digest);
  assert.equal((await push("store-2", app("multi:1"), "--as", "index")).result.manifestDigest, index.digest);
  assert.equal((await pull("index-puller", app("multi:1"))).how, "index");
  assert.equal((await pull("index-puller", app("multi:1"), "--from-source")).how, undefined);
  // Who knows nothing of EROFS gets the tar layers.
  assert.equal((await inspect(app("multi:1"), "--raw")).manifests.length, 2);
  const seen = await inspect(app("multi:1"));
  const { layers } = source.manifest;
  assert.deepEqual(
    seen.Layers,
    layers.map(({ digest }) => digest),
  );
});

test("an index elsewhere: the source goes with it, by mounting where that can be", async () => {
  const { result } = await push("store", app(), "--as", "index", "--to", app("elsewhere:1"));
  const index = (await manifest("test/elsewhere", "1"))!;
  assert.equal(index.digest, result.manifestDigest);
  assert.equal(index.manifest.manifests[0]?.digest, source.digest);
  await run("skopeo", [
    "copy",
    "--src-tls-verify=false",
    "--insecure-policy",
    `docker://${app("elsewhere:1")}`,
    `dir:${at("copied")}`,
  ]);
  const second = await startRegistry();
  try {
    const to = `${second.host}/mirror/app:1`;
    await push("store", app(), "--as", "index", "--to", to);
    assert.equal((await pull("second", to)).how, "index");
    assert.equal((await pull("second", to, "--from-source")).manifestDigest, source.digest);
  } finally {
    await second.stop();
  }
});

test("all platforms: an index of converted images, or one entry for each beside the sources", async () => {
  const { config, layers } = source.manifest;
  const body = Buffer.from(
    await (await fetch(`http://${registry.host}/v2/test/app/blobs/${config.digest}`)).arrayBuffer(),
  );
  const document = { ...JSON.parse(body.toString()), architecture: "arm64" };
  const arm = Buffer.from(JSON.stringify(document));
  const digest = `sha256:${createHash("sha256").update(arm).digest("hex")}`;
  const image = { schemaVersion: 2, mediaType: TYPES[0]!, config: { ...config, digest, size: arm.length }, layers };
  await putImage(registry.host, "test/app", "arm64", { manifest: image, blobs: [arm] });
  const arm64 = (await manifest("test/app", "arm64"))!;
  const entry = ({ digest: of, bytes }: Fetched, architecture: string) => ({
    ...{ mediaType: TYPES[0], digest: of, size: bytes.length, platform: { architecture, os: "linux" } },
    annotations: { "com.example.kept": architecture },
  });
  const entries = [entry(source, "amd64"), entry(arm64, "arm64")];
  await put("test/app", "both", { manifests: entries }, TYPES[1]);
  await push("store", app("app:both"), "--all-platforms");
  const alone = (await manifest("test/app", "both-erofs"))!;
  const platforms = alone.manifest.manifests.map(({ platform }) => [platform?.architecture, platform?.["os.features"]]);
  assert.deepEqual(platforms, [
    ["amd64", ["erofs"]],
    ["arm64", ["erofs"]],
  ]);
  assert.equal((await pull("platforms", app("app:both-erofs"), "--platform", "linux/arm64")).how, "index");
  await push("store", app("app:both"), "--all-platforms", "--as", "index");
  const index = (await manifest("test/app", "both"))!;
  assert.deepEqual(index.manifest.manifests.slice(0, 2), entries);
  assert.equal(index.manifest.manifests.length, 4);
  await push("store", app("app:both"), "--platform", "linux/arm64", "--as", "index");
  const again = (await manifest("test/app", "both"))!;
  assert.deepEqual(
    new Set(again.manifest.manifests.map((one) => one.digest)),
    new Set(index.manifest.manifests.map((one) => one.digest)),
  );
  await push("store", app("app:both"), "--all-platforms", "--as", "referrer");
  assert.equal((await manifest("test/app", `sha256-${arm64.digest.slice(7)}`))?.manifest.manifests.length, 1);
});

test("converted and pushed in one go", async () => {
  await pushImage(at("layout"), "v1", app("both:1"));
  const args = ["--json", "--store", at("one-go"), app("both:1"), "--push", "--as", "referrer"];
  const { status, stdout, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  const { pushed, converted } = JSON.parse(stdout);
  assert.equal(converted, undefined);
  assert.equal((await pull("one-go-puller", app("both:1"))).how, "referrer");
  assert.equal((await manifest("test/both", pushed.manifestDigest))?.manifest.subject?.digest, source.digest);
  // Again: what is attached is not taken for the source.
  assert.equal(JSON.parse((await erofsify(args)).stdout).pushed.manifestDigest, pushed.manifestDigest);
});

test("forms that cannot be, and sources that have gone, are told", async () => {
  for (const [args, status, message] of [
    [[app(), "--as", "heap"], 2, /expected tag, index or referrer/],
    [[`oci:${at("layout")}:v1`, "--as", "referrer"], 2, /is not in a registry, which such a form belongs to/],
    [[`oci:${at("layout")}:v1`, "--to", app("x:1"), "--all-platforms"], 2, /is not in a registry/],
    [[app(), "--all-platforms", "--platform", "linux/amd64"], 2, /exclude each other/],
    [[app("gone:1"), "--as", "index"], 3, /does not exist there/],
  ] as const) {
    const result = await erofsify(["push", "--quiet", "--store", at("store"), ...args]);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
  }
  for (const [args, message] of [
    [["--to", app("x:1")], /--to and --as say where to --push/],
    [["--push", "--inline-tails"], /exclude each other/],
    [["--push", "--as", "heap"], /expected tag, index or referrer/],
  ] as const) {
    const result = await erofsify(["convert", "--store", at("never"), app(), ...args]);
    assert.equal(result.status, 2, result.stderr);
    assert.match(result.stderr, message);
  }
});
