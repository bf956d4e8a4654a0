import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { recordKey, Store } from "../../blobd/store/index.ts";
import { EROFS_ANNOTATIONS, EROFS_ARTIFACT, OCI_INDEX, OCI_MANIFEST } from "../../formats/oci/index.ts";
import {
  buildTar,
  erofsify,
  pushImage,
  type Registry,
  run,
  startErofsify,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Converted images fetched whole, from Debian's docker-registry: by their own name, from an index, attached to the source.

const directory = tempDir();
const at = (name: string) => join(directory, name);
let registry: Registry;

before(async () => {
  registry = await startRegistry();
  const bottom = buildTar([
    { name: "random", content: randomBytes(3_000_000) },
    { name: "text", content: "the same line again\n".repeat(200_000) },
  ]);
  await writeOciLayout(at("layout"), "v1", [bottom, buildTar([{ name: "more", content: randomBytes(100_000) }])], {
    Cmd: ["/bin/true"],
  });
  await pushImage(at("layout"), "v1", `${registry.host}/test/app:1`);
});
after(() => registry.stop());

const ref = (name: string) => `${registry.host}/test/${name}`;

async function ok(...args: string[]): Promise<{ json: Record<string, unknown>; stderr: string }> {
  const { status, stdout, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  return { json: JSON.parse(stdout), stderr };
}

const convert = (store: string, image: string, ...more: string[]) =>
  ok("convert", "--json", "--store", at(store), ref(image), ...more);

test("an image that was pushed converted is fetched as it was made", async () => {
  const made = await convert("maker", "app:1");
  await ok("push", "--json", "--store", at("maker"), ref("app:1"));
  const { json, stderr } = await convert("puller", "app:1-erofs");
  assert.deepEqual((json.converted as { how: string }).how, "itself");
  assert.deepEqual([json.meta, json.blobs, json.layersFetched], [made.json.meta, made.json.blobs, 3]);
  assert.equal(stderr.match(/fetched /g)?.length, 3, stderr);
  const [from, to] = await Promise.all(["maker", "puller"].map((name) => Store.open(at(name))));
  for (const { digestHex } of [json.meta, ...(json.blobs as { digestHex: string }[])] as { digestHex: string }[]) {
    assert.ok(from!.readBlob(digestHex).equals(to!.readBlob(digestHex)));
    const sum = createHash("sha256")
      .update(readFileSync(to!.blobPath(digestHex)))
      .digest("hex");
    assert.equal(sum, digestHex);
  }
  from!.close();
  to!.close();
  const again = await convert("puller", "app:1-erofs");
  assert.deepEqual([again.json.cached, again.json.layersFetched], [true, 0]);
  assert.equal((await erofsify(["check", "--store", at("puller"), ref("app:1-erofs")])).status, 0);
});

test("a layer that another process of the store fetches is waited for, and is here then", async () => {
  const made = await convert("maker", "app:1", "--from-source");
  const [{ digestHex }] = made.json.blobs as [{ digestHex: string }];
  await ok("push", "--json", "--store", at("maker"), ref("app:1"));
  const maker = await Store.open(at("maker"));
  const store = await Store.open(at("waiter"));
  let told = "";
  const { result } = await store.withLayerLock(recordKey({ kind: "pull", blob: digestHex }), async () => {
    const waiter = startErofsify(["convert", "--json", "--store", at("waiter"), ref("app:1-erofs")]);
    const { stderr } = waiter.child;
    stderr!.on("data", (text: Buffer) => {
      told += text;
    });
    while (!told.includes("waiting for another process") && waiter.child.exitCode === null)
      await Promise.race([once(stderr!, "data"), waiter.result]);
    await store.putBytes(maker.readBlob(digestHex));
    return waiter;
  });
  const { status, stdout, stderr } = await result;
  store.close();
  maker.close();
  assert.equal(status, 0, stderr);
  assert.match(told, /waiting for another process/);
  const { layers, layersFetched, cached } = JSON.parse(stdout);
  assert.deepEqual([layers, layersFetched, cached], [3, 2, false]);
});

test("over TLS and with a password: pushed, attached, found by another store; without the password, told", async () => {
  const [user, password] = ["somebody", "s3cret"];
  const hash = "$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK";
  const secure = await startRegistry({ tls: true, htpasswd: `${user}:${hash}\n` });
  try {
    const ca = secure.certificate!;
    const image = `${secure.host}/test/app:1`;
    const copy = [
      "--insecure-policy",
      "copy",
      "--quiet",
      "--dest-tls-verify=false",
      "--dest-creds",
      `${user}:${password}`,
    ];
    await run("skopeo", [...copy, `oci:${at("layout")}:v1`, `docker://${image}`]);
    await mkdir(at("docker"));
    const auth = Buffer.from(`${user}:${password}`).toString("base64");
    await writeFile(at("docker/config.json"), JSON.stringify({ auths: { [secure.host]: { auth } } }));
    await writeFile(at("tls.json"), JSON.stringify({ registries: { [secure.host]: { plainHttp: false, ca } } }));
    const settings = { EROFSIFY_CONFIG: at("tls.json") };
    const env = { ...settings, DOCKER_CONFIG: at("docker") };
    const pushed = await erofsify(["push", "--store", at("maker"), image, "--as", "referrer"], { env });
    assert.equal(pushed.status, 0, pushed.stderr);
    const args = ["convert", "--json", "--store", at("secure-puller"), image];
    const pulled = await erofsify(args, { env });
    assert.equal(JSON.parse(pulled.stdout).converted?.how, "referrer", pulled.stderr);
    const stranger = await erofsify(args, { env: settings });
    assert.equal(stranger.status, 3);
    assert.match(stranger.stderr, /access denied; it needs credentials: none are stored for 127\.0\.0\.1:\d+/);
  } finally {
    await secure.stop();
  }
});

interface Manifest {
  readonly config: { digest: string; size: number };
  readonly subject: { digest: string };
  readonly layers: { digest: string; size: number; annotations: Record<string, string> }[];
}

const ZEROS = `sha256:${"0".repeat(64)}`;

/** Lies of a manifest, and what is said of each. */
const LIES: readonly (readonly [RegExp, (manifest: Manifest) => void])[] = [
  [
    /holds sha256:[0-9a-f]{64}, its manifest says sha256:0{64}/,
    ({ layers }) => {
      layers[0]!.annotations[EROFS_ANNOTATIONS.uncompressedDigest] = ZEROS;
    },
  ],
  [/layer 1 holds [0-9a-f]{64}, its metadata say/, ({ layers }) => void layers.unshift(layers.splice(1, 1)[0]!)],
  [/its manifest says 17/, ({ layers }) => withoutIndex(layers[0]!, { size: 17 })],
  [/does not exist there/, ({ layers }) => withoutIndex(layers[0]!, { digest: ZEROS })],
  // A config as zstd.
  [/zstd/, ({ layers, config: { digest, size } }) => withoutIndex(layers[0]!, { digest, size })],
];

function withoutIndex(layer: Manifest["layers"][number], more: object): void {
  delete layer.annotations[EROFS_ANNOTATIONS.chunkIndexRange];
  Object.assign(layer, more);
}

test("a form that lies, or is not there as a whole, is told, and the source is converted in its place", async () => {
  const { json: pushed } = await ok("push", "--json", "--store", at("maker"), ref("app:1"), "--as", "referrer");
  const { json: made } = await convert("maker", "app:1", "--from-source");
  const manifests = `http://${registry.host}/v2/test/app/manifests`;
  const headers = { accept: OCI_MANIFEST };
  const manifest = (await (await fetch(`${manifests}/${pushed.manifestDigest}`, { headers })).json()) as Manifest;
  for (const [i, [expected, lie]] of LIES.entries()) {
    const lying = structuredClone(manifest);
    lie(lying);
    const entry = { mediaType: OCI_MANIFEST, artifactType: EROFS_ARTIFACT, ...storeManifest(JSON.stringify(lying)) };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry] });
    const url = `${manifests}/${manifest.subject.digest.replace(":", "-")}`;
    const { status } = await fetch(url, { method: "PUT", headers: { "content-type": OCI_INDEX }, body });
    assert.equal(status, 201);
    const { json, stderr } = await convert(`lied-to-${i}`, "app:1");
    assert.match(stderr, /is not used/, `${expected}`);
    assert.match(stderr, expected);
    assert.deepEqual([json.meta, json.blobs, json.converted], [made.meta, made.blobs, undefined]);
  }
});

/** Puts a manifest on the registry's disk: it would not take one by the front door that names what is not there. */
function storeManifest(text: string): { digest: string; size: number } {
  const hex = createHash("sha256").update(text).digest("hex");
  const root = join(registry.storage, "docker/registry/v2");
  const put = (folder: string, name: string, content: string) => {
    mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, folder, name), content);
  };
  put(`blobs/sha256/${hex.slice(0, 2)}/${hex}`, "data", text);
  put(`repositories/test/app/_manifests/revisions/sha256/${hex}`, "link", `sha256:${hex}`);
  return { digest: `sha256:${hex}`, size: text.length };
}
