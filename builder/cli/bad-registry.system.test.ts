import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { type FakeImage, type Fault, fakeImage, sendShort, startFakeRegistry } from "../../blobd/registry/testing.ts";
import { buildTar, type ErofsifyResult, erofsify, run, storeState, tempDir } from "../testkit/index.ts";

// The command and a registry that fails in every way: exit code, one line that says what happened, nothing half-written
// in the store, and a next try that succeeds with the right bytes.

const FILES = Array.from({ length: 40 }, (_, i) => ({ name: `f${i}`, content: Buffer.alloc(20_000, `${i} `) }));
const BOTTOM = buildTar([{ name: "bottom", content: "bottom" }]);
const TOP = buildTar(FILES);
const IMAGE = fakeImage([BOTTOM, TOP]);
const GZIP_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";
/** The merged meta that every way of getting the image has to give. */
let expectedMeta: string;

interface Try extends ErofsifyResult {
  readonly store: string;
  /** What was asked of the registry, `GET /v2/…`. */
  readonly lines: readonly string[];
  readonly ranges: readonly string[];
  /** Runs the same again. */
  again(): Promise<ErofsifyResult>;
}

/** Converts `image` from a registry with a fault, into a store of its own. */
async function convert(t: TestContext, image: FakeImage, fault: Fault, ...options: string[]): Promise<Try> {
  const registry = await startFakeRegistry(t, image, fault);
  const store = join(tempDir(t), "store");
  const args = ["--store", store, "--json", "--platform", "linux/amd64", `${registry.host}/a/b:tag`, ...options];
  const again = () => erofsify(args);
  const result = await again();
  const lines = registry.requests.map(({ line }) => line);
  const ranges = registry.requests.flatMap(({ headers }) => headers.range ?? []);
  return { ...result, store, lines, ranges, again };
}

function assertDone(result: ErofsifyResult): void {
  assert.equal(result.status, 0, result.stderr);
  assert.equal(metaOf(result), expectedMeta);
}

function metaOf({ stdout }: ErofsifyResult): string {
  return (JSON.parse(stdout) as { meta: { digestHex: string } }).meta.digestHex;
}

/** The last line tells the error, those before it what was tried; no image, nothing in flight, only whole layers. */
function assertFailed({ status, stdout, stderr, store }: Try, expected: number, says: RegExp): void {
  assert.match(stderr, says);
  assert.match(stderr, /^(?!.*^ {4}at ).*\nerofsify: [^\n]+\n$|^erofsify: [^\n]+\n$/ms, "one line, no stack");
  assert.equal(status, expected);
  assert.equal(stdout, "");
  const { images, tmp, layers, blobs } = storeState(store);
  assert.deepEqual([images, tmp], [[], []]);
  assert.ok(layers.length <= 1 && blobs.length <= 2 * layers.length, `${layers} ${blobs}`);
}

/** A fault for the requests whose path ends so, up to `times` of them. */
function on(path: string, answer: (response: ServerResponse, range: string | undefined) => void, times = 99): Fault {
  return (request, response, seen) => {
    if (!request.url?.endsWith(path) || seen >= times) return false;
    answer(response, request.headers.range);
    return true;
  };
}

const answer =
  (status: number, body = "", headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, headers).end(body);
const errorBody = (code: string, message: string) => JSON.stringify({ errors: [{ code, message }] });
const CONFIG = [...IMAGE.blobs.values()][0] as Buffer;
const CONFIG_BLOB = `/blobs/${[...IMAGE.blobs.keys()][0]}`;
const TOP_BLOB = `/blobs/${IMAGE.layers[1]}`;
const damaged = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
};

test("a registry in good health", async (t) => {
  const result = await convert(t, IMAGE, () => false);
  assert.equal(result.status, 0, result.stderr);
  expectedMeta = metaOf(result);
});

describe("what passes", { concurrency: true }, () => {
  const cases: readonly [what: string, fault: Fault, says: RegExp][] = [
    ["429 with Retry-After on the manifest", on("/tag", answer(429, "", { "retry-after": "1" }), 1), /answered 429/],
    ["503 on the manifest", on("/tag", answer(503), 1), /retrying: .*answered 503/],
    ["429 on a layer", on(TOP_BLOB, answer(429, errorBody("TOOMANYREQUESTS", "slow down")), 1), /slow down/],
    ["500 twice on a layer", on(TOP_BLOB, answer(500), 2), /retrying: .*answered 500/],
    ["a layer whose body breaks off", on(TOP_BLOB, (response) => sendShort(response, TOP, 300_000), 1), /retrying/],
    ["a layer's connection reset", on(TOP_BLOB, (response) => response.destroy(), 1), /connection/],
  ];
  for (const [what, fault, says] of cases)
    test(what, async (t) => {
      const result = await convert(t, IMAGE, fault);
      assert.match(result.stderr, says);
      assert.match(result.stderr, /retrying: /);
      assertDone(result);
    });

  test("a broken transfer goes on where it stopped", async (t) => {
    const result = await convert(
      t,
      IMAGE,
      on(TOP_BLOB, (response) => sendShort(response, TOP, 300_000), 1),
    );
    assertDone(result);
    assert.deepEqual(result.ranges, ["bytes=300000-"]);
  });
});

describe("what does not", { concurrency: true }, () => {
  const wrong = damaged(TOP, TOP.length - 3000);
  const cases: readonly [what: string, fault: Fault, status: number, says: RegExp][] = [
    [
      "a tag that does not exist",
      on("/tag", answer(404, errorBody("MANIFEST_UNKNOWN", "manifest unknown"))),
      3,
      /answered 404 \(MANIFEST_UNKNOWN: manifest unknown\): it does not exist there/,
    ],
    [
      "401 without a challenge",
      on("/tag", answer(401)),
      3,
      /answered 401: access denied; it needs credentials: none are stored .*docker login/,
    ],
    [
      "403",
      on("/tag", answer(403, errorBody("DENIED", "not yours"))),
      3,
      /answered 403 \(DENIED: not yours\): access denied/,
    ],
    ["401 on a layer", on(TOP_BLOB, answer(401)), 3, /layer sha256:\w+: .*answered 401: access denied/],
    ["404 on a layer", on(TOP_BLOB, answer(404)), 3, /layer sha256:\w+: .*answered 404/],
    ["500 for ever", on("/tag", answer(500)), 3, /answered 500 \(gave up after 5 attempts\)/],
    ["429 for ever on a layer", on(TOP_BLOB, answer(429)), 3, /answered 429 \(gave up after 5 attempts\)/],
    [
      "a wrong byte in a layer",
      on(TOP_BLOB, (response) => response.writeHead(200).end(wrong)),
      4,
      new RegExp(`the bytes have the digest sha256:\\w{64}, expected ${IMAGE.layers[1]}; they were damaged`),
    ],
    [
      "a layer that is too long",
      on(TOP_BLOB, (response) => response.writeHead(200).end(Buffer.concat([TOP, TOP]))),
      4,
      new RegExp(`got at least \\d+ bytes, its manifest says ${TOP.length}`),
    ],
    [
      "a layer of another length",
      on(TOP_BLOB, (response) => response.writeHead(200, { "content-length": 1000 }).end(TOP.subarray(0, 1000))),
      4,
      new RegExp(`got 1000 bytes, its manifest says ${TOP.length}`),
    ],
    [
      "a layer that always breaks off at the same place",
      on(TOP_BLOB, (response, range) => (range ? response.destroy() : sendShort(response, TOP, 300_000))),
      3,
      /gave up after 5 attempts/,
    ],
    ["a manifest that is no JSON", on("/tag", answer(200, "<html>login</html>")), 4, /manifest/],
    ["a manifest that is a list", on("/tag", answer(200, "[]")), 4, /manifest/],
    ["a manifest without layers", on("/tag", answer(200, '{"schemaVersion":2}')), 4, /manifest|mediaType|config/],
    [
      "a config with a wrong byte",
      on(CONFIG_BLOB, answer(200, CONFIG.toString().replace("linux", "Linux"))),
      4,
      /digest/,
    ],
  ];
  for (const [index, [what, fault, status, says]] of cases.entries())
    test(what, async (t) => {
      let healthy = false;
      // In this thread and in threads of their own, whatever the machine has.
      const threads = String(1 + (index % 2));
      const result = await convert(t, IMAGE, (...request) => !healthy && fault(...request), "--threads", threads);
      assertFailed(result, status, says);
      healthy = true;
      assertDone(await result.again());
    });

  const images: readonly [what: string, image: FakeImage, status: number, says: RegExp][] = [
    [
      "an unknown layer type",
      fakeImage([BOTTOM], { layerType: "application/vnd.example.squashfs" }),
      4,
      /layer 1 of 1 is a application\/vnd\.example\.squashfs, expected a tar, plain or with gzip or zstd/,
    ],
    [
      "an image for another platform only",
      fakeImage([BOTTOM], { architecture: "s390x" }),
      3,
      /for linux\/s390x.*linux\/amd64/,
    ],
    [
      "an artifact that is no image",
      fakeImage([BOTTOM], { configType: "application/vnd.cncf.helm.config.v1+json" }),
      4,
      /is an artifact \(its config is a application\/vnd\.cncf\.helm/,
    ],
  ];
  for (const [what, image, status, says] of images)
    test(what, async (t) => assertFailed(await convert(t, image, () => false), status, says));

  test("a layer with gzip that came damaged is told by its digest, not by what gzip makes of it", async (t) => {
    const gzip = gzipSync(TOP);
    const image = fakeImage([gzip], { layerType: GZIP_TYPE });
    const fault = on(`/blobs/${image.layers[0]}`, answer(200, "") && ((response) => response.end(damaged(gzip, 500))));
    assertFailed(await convert(t, image, fault), 4, new RegExp(`expected ${image.layers[0]}; they were damaged`));
  });

  test("nothing listens", async (t) => {
    const store = join(tempDir(t), "store");
    const result = await erofsify(["--store", store, "127.0.0.1:1/a"]);
    const nothing = { ...result, store, lines: [], ranges: [], again: () => Promise.resolve(result) };
    assertFailed(nothing, 3, /127\.0\.0\.1:1: nothing listens there \(connection refused\) \(gave up after 5/);
    assert.equal(result.stderr.match(/^retrying: /gm)?.length, 4, "each retry is told");
  });
});

test("layers with zstd, and with a type that says gzip although they are not", async (t) => {
  const folder = tempDir(t);
  const zstd = Buffer.from((await run("sh", ["-c", "zstd -q | base64 -w0"], { input: TOP })).stdout, "base64");
  assert.ok(folder);
  for (const [layer, layerType] of [
    [zstd, "application/vnd.oci.image.layer.v1.tar+zstd"],
    [gzipSync(TOP), GZIP_TYPE],
  ] as const) {
    const result = await convert(t, fakeImage([layer], { layerType }), () => false);
    assert.equal(result.status, 0, result.stderr);
  }
});
