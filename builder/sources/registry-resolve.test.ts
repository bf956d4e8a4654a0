import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { sha256 } from "../../blobd/registry/index.ts";
import { type FakeRegistry, fakeImage, startFakeRegistry, testOptions } from "../../blobd/registry/testing.ts";
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parsePlatform } from "../../formats/oci/index.ts";
import { parseSource, type SourceOptions } from "../names/index.ts";
import { tempDir } from "../testkit/index.ts";
import { openLayer, resolveImage } from "./index.ts";
import type { ReadOptions } from "./options.ts";

const LAYER = Buffer.from("a layer");
const IMAGE = fakeImage([LAYER]);
const AMD64 = parsePlatform("linux/amd64");

function resolve(
  registry: FakeRegistry,
  name = "a/b",
  source: SourceOptions = {},
  options: ReadOptions = testOptions(),
) {
  return resolveImage(parseSource(`${registry.host}/${name}`, { platform: AMD64, ...source }), options);
}

/** Answers every request for a manifest with this document. */
const sendsManifest = (body: Buffer | string, headers: Record<string, string> = {}) =>
  ((request, response) => {
    if (!request.url!.includes("/manifests/")) return false;
    response.writeHead(200, headers).end(body);
    return true;
  }) satisfies FakeRegistry["fault"];

test("an image is described by its manifest and config", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE);
  const image = await resolve(registry, "a/b:tag");
  assert.equal(image.reference, `${registry.host}/a/b@${IMAGE.manifestDigest}`);
  assert.equal(image.manifestDigest, IMAGE.manifestDigest);
  assert.deepEqual(image.layers, [
    {
      digest: sha256(LAYER),
      size: LAYER.length,
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      compression: "none",
      diffId: sha256(LAYER),
    },
  ]);
  assert.equal(image.platform.architecture, "amd64");
  assert.ok(registry.requests[0]!.line.endsWith("/v2/a/b/manifests/tag"));
  for (const type of [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST])
    assert.ok(registry.requests[0]!.headers.accept!.includes(type));
});

for (const [name, body, code, says] of [
  ["HTML", "<html>Welcome!</html>", "ERR_BAD_MANIFEST", /is not JSON.*<html>Welcome/],
  ["schema 1", '{"schemaVersion":1,"fsLayers":[]}', "ERR_UNSUPPORTED", /schema 1/],
  ["an endless body", Buffer.alloc((4 << 20) + 1, " "), "ERR_LIMIT", /longer than 4194304 bytes/],
  [
    "a helm chart",
    fakeImage([], { configType: "application/vnd.cncf.helm.config.v1+json" }).manifest,
    "ERR_UNSUPPORTED",
    /helm\.config.*not a container image/,
  ],
] as const)
  test(`a manifest that is ${name} is refused`, async (t) => {
    const registry = await startFakeRegistry(t, IMAGE, sendsManifest(body));
    await assert.rejects(resolve(registry), { code, message: says });
  });

test("a layer of unknown type is named", async (t) => {
  const registry = await startFakeRegistry(t, fakeImage([LAYER], { layerType: "application/vnd.example.squashfs" }));
  await assert.rejects(resolve(registry), {
    code: "ERR_UNSUPPORTED",
    message: /layer 1 of 1 is a application\/vnd\.example\.squashfs, expected a tar/,
  });
});

test("more layers than diff ids are refused", async (t) => {
  const one = fakeImage([LAYER]);
  const manifest = JSON.parse(one.manifest.toString());
  manifest.layers.push(manifest.layers[0]);
  const registry = await startFakeRegistry(t, one, sendsManifest(JSON.stringify(manifest)));
  await assert.rejects(resolve(registry), { code: "ERR_BAD_MANIFEST", message: /has 2 layers, the config 1/ });
});

test("an image for another platform only is refused, and converted when that platform is asked for", async (t) => {
  const registry = await startFakeRegistry(t, fakeImage([LAYER], { architecture: "s390x" }));
  await assert.rejects(resolve(registry), {
    code: "ERR_PLATFORM",
    message: /is an image for linux\/s390x, not for linux\/amd64; use --platform linux\/s390x/,
  });
  const image = await resolve(registry, "a/b", { platform: parsePlatform("linux/s390x") });
  assert.equal(image.platform.architecture, "s390x");
});

test("a wrong config is an error that names both digests", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (!request.url!.includes("/blobs/")) return false;
    response.end(Buffer.alloc([...IMAGE.blobs.values()][0]!.length));
    return true;
  });
  await assert.rejects(resolve(registry), {
    code: "ERR_DIGEST",
    message: /config sha256:.*digest sha256:.*expected sha256:/,
  });
});

test("the manifest must have the digest it was asked by, or delivered with", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE);
  assert.equal((await resolve(registry, `a@${IMAGE.manifestDigest}`)).manifestDigest, IMAGE.manifestDigest);
  await assert.rejects(resolve(registry, `a@${sha256(LAYER)}`), { code: "ERR_DIGEST" });
  registry.fault = sendsManifest(IMAGE.manifest, { "docker-content-digest": sha256(LAYER) });
  await assert.rejects(resolve(registry), { code: "ERR_DIGEST" });
});

/** A registry with an index under every tag and the manifests by their digests. */
async function startIndexRegistry(t: Parameters<typeof startFakeRegistry>[0], depth = 0) {
  const arm = fakeImage([LAYER], { architecture: "arm64" });
  const documents = new Map<string, { body: Buffer; type: string }>();
  const put = (type: string, value: Buffer | object, more: object = {}) => {
    const body = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
    documents.set(sha256(body), { body, type });
    return { mediaType: type, digest: sha256(body), size: body.length, ...more };
  };
  const platform = (architecture: string) => ({ platform: { os: "linux", architecture } });
  let top = put(OCI_INDEX, {
    schemaVersion: 2,
    manifests: [
      put(OCI_MANIFEST, arm.manifest, platform("arm64")),
      put(OCI_MANIFEST, IMAGE.manifest, platform("amd64")),
    ],
  });
  for (let i = 0; i < depth; i++) top = put(OCI_INDEX, { schemaVersion: 2, manifests: [top] });
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    const name = /\/manifests\/(.*)$/.exec(request.url!)?.[1];
    if (name === undefined) return false;
    const { body, type } = documents.get(name === "latest" ? top.digest : name)!;
    response.writeHead(200, { "content-type": type }).end(body);
    return true;
  });
  return registry;
}

test("an index leads to the image for the platform", async (t) => {
  const registry = await startIndexRegistry(t);
  assert.equal((await resolve(registry)).manifestDigest, IMAGE.manifestDigest);
  await assert.rejects(resolve(registry, "a", { platform: parsePlatform("riscv64") }), {
    code: "ERR_PLATFORM",
    message: /no image for linux\/riscv64; choose with --platform among linux\/arm64, linux\/amd64/,
  });
});

test("indexes inside indexes are followed three deep", async (t) => {
  assert.equal((await resolve(await startIndexRegistry(t, 2))).manifestDigest, IMAGE.manifestDigest);
  await assert.rejects(resolve(await startIndexRegistry(t, 3)), {
    code: "ERR_BAD_MANIFEST",
    message: /more than 3 indexes/,
  });
});

test("mirrors are asked first, in order, and the registry when they fail", async (t) => {
  const settings = join(tempDir(t), "settings.json");
  const empty = await startFakeRegistry(t, IMAGE, (_, response) => {
    response.writeHead(404).end();
    return true;
  });
  const good = await startFakeRegistry(t, IMAGE);
  const own = await startFakeRegistry(t, IMAGE);
  const options = testOptions({ env: { EROFSIFY_CONFIG: settings } });
  const mirrors = [`http://${empty.host}`, `http://${good.host}/some/path/`];
  writeFileSync(settings, JSON.stringify({ registries: { [own.host]: { mirrors } } }));
  const image = structuredClone(await resolve(own, "a/b", {}, options));
  for await (const chunk of openLayer(image, image.layers[0]!, options)) assert.ok(LAYER.equals(chunk));
  assert.equal(own.requests.length, 0);
  assert.equal(good.requests[0]!.line, "GET /v2/some/path/a/b/manifests/latest");
  assert.equal(good.requests.length, 3);
  // The mirror that served the manifest loses the layer: the others are asked.
  good.fault = empty.fault;
  for await (const chunk of openLayer(image, image.layers[0]!, options)) assert.ok(LAYER.equals(chunk));
  assert.equal(own.requests.length, 1);
});

test("a settings file that is wrong, or was named and is missing, is an error", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE);
  const settings = join(tempDir(t), "settings.json");
  const options = testOptions({ env: { EROFSIFY_CONFIG: settings } });
  await assert.rejects(resolve(registry, "a", {}, options), { code: "ERR_NOT_FOUND", message: /settings\.json/ });
  writeFileSync(settings, '{"registries":{"x":{"mirrors":"https://y"}}}');
  await assert.rejects(resolve(registry, "a", {}, options), {
    code: "ERR_BAD_SOURCE",
    message: /settings\.registries\.x\.mirrors/,
  });
});

test("a proxy is used, except for the machine itself and what NO_PROXY names", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE);
  const asked: string[] = [];
  const proxy = createServer().on("connect", (request, client) => {
    asked.push(request.url!);
    const upstream = connect(Number(registry.host.split(":")[1]), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    t.after(() => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => proxy.close());
  const env = { HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, NO_PROXY: "direct.invalid" };
  const options = testOptions({ env, retry: { tries: 1 } });
  const find = (text: string) => resolveImage(parseSource(text, { plainHttp: true, platform: AMD64 }), options);
  assert.equal((await find("registry.invalid/a/b")).manifestDigest, IMAGE.manifestDigest);
  assert.deepEqual(new Set(asked), new Set(["registry.invalid:80"]));
  asked.length = 0;
  await find(`${registry.host}/a/b`);
  await assert.rejects(find("direct.invalid/a/b"), { code: "ERR_NETWORK" });
  assert.deepEqual(asked, []);
});

test("a host that does not exist, and one that does not listen, are told apart", async () => {
  const find = (text: string) => resolveImage(parseSource(text), testOptions({ retry: { tries: 1 } }));
  await assert.rejects(find("127.0.0.1:1/a"), { code: "ERR_NETWORK", message: /nothing listens there/ });
  await assert.rejects(find("no-such-host.invalid/a"), { code: "ERR_NETWORK", message: /host name/ });
});

test("TLS against a plain registry hints at --plain-http", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE);
  await assert.rejects(resolve(registry, "a", { plainHttp: false }), { code: "ERR_NETWORK", message: /--plain-http/ });
});
