import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  type FakeRegistry,
  fakeImage,
  sendShort,
  startFakeRegistry,
  testOptions,
} from "../../blobd/registry/testing.ts";
import { parseSource } from "../names/index.ts";
import { openLayer, resolveImage } from "./index.ts";
import type { ReadOptions } from "./options.ts";

const LAYER = randomBytes(300_000);
const IMAGE = fakeImage([LAYER]);
const DIGEST = IMAGE.layers[0]!;

const isLayer = (url: string | undefined) => url?.endsWith(DIGEST) ?? false;
const layerRequests = (registry: FakeRegistry) => registry.requests.filter((r) => isLayer(r.line));

/** Resolves the image and reads its only layer, as another thread would: through a structured clone. */
async function pull(registry: FakeRegistry, options: ReadOptions): Promise<Buffer> {
  const image = structuredClone(await resolveImage(parseSource(`${registry.host}/a/b`), options));
  const chunks: Uint8Array[] = [];
  for await (const chunk of openLayer(image, image.layers[0]!, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("a layer comes as it is stored, with its progress", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE);
  const progress: number[] = [];
  assert.ok(LAYER.equals(await pull(registry, testOptions({ onProgress: (n) => progress.push(n) }))));
  assert.equal(progress.at(-1), LAYER.length);
  assert.deepEqual(
    progress,
    [...progress].sort((a, b) => a - b),
  );
  assert.equal(layerRequests(registry)[0]!.headers["accept-encoding"], "identity");
});

test("a body that ends early is resumed by Range", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response, seen) => {
    if (!isLayer(request.url) || seen > 0) return false;
    sendShort(response, LAYER, 100_000);
    return true;
  });
  const options = testOptions();
  assert.ok(LAYER.equals(await pull(registry, options)));
  assert.deepEqual(
    layerRequests(registry).map((r) => r.headers.range),
    [undefined, "bytes=100000-"],
  );
  assert.equal(options.waits.length, 1);
});

test("bytes that come again because the server knows no ranges are passed over", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response, seen) => {
    if (!isLayer(request.url)) return false;
    if (seen === 0) sendShort(response, LAYER, 100_000);
    else response.writeHead(200, { "content-length": LAYER.length }).end(LAYER);
    return true;
  });
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
});

test("a 206 for another range than asked for is tried again", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response, seen) => {
    if (!isLayer(request.url) || seen > 1) return false;
    if (seen === 0) sendShort(response, LAYER, 100_000);
    else response.writeHead(206, { "content-range": `bytes 5-299999/300000` }).end(LAYER.subarray(5));
    return true;
  });
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
  assert.equal(layerRequests(registry).length, 3);
});

test("a chunked body of unknown length that stops early is resumed too", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response, seen) => {
    if (!isLayer(request.url) || seen > 0) return false;
    response.writeHead(200).end(LAYER.subarray(0, 7));
    return true;
  });
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
  assert.equal(layerRequests(registry)[1]!.headers.range, "bytes=7-");
});

test("a server that stops sending is left and asked again", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response, seen) => {
    if (!isLayer(request.url) || seen > 0) return false;
    response.writeHead(200, { "content-length": LAYER.length });
    response.write(LAYER.subarray(0, 1000));
    return true;
  });
  assert.ok(LAYER.equals(await pull(registry, testOptions({ retry: { stallMs: 150 } }))));
  assert.equal(layerRequests(registry)[1]!.headers.range, "bytes=1000-");
});

test("a server that never answers is given up", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, () => true);
  const options = testOptions({ retry: { stallMs: 100, tries: 2 } });
  await assert.rejects(pull(registry, options), {
    code: "ERR_NETWORK",
    message: /no answer in time \(gave up after 2/,
  });
});

test("a body that always ends early is given up after as many tries as allowed", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (!isLayer(request.url)) return false;
    response.writeHead(200).end(LAYER.subarray(0, 10));
    return true;
  });
  await assert.rejects(pull(registry, testOptions({ retry: { tries: 3 } })), {
    code: "ERR_LENGTH",
    message: /got 10 bytes, its manifest says 300000.*gave up after 3 attempts/,
  });
  assert.equal(layerRequests(registry).length, 3);
});

test("a wrong digest is an error that names both", async (t) => {
  const other = randomBytes(LAYER.length);
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (!isLayer(request.url)) return false;
    response.end(other);
    return true;
  });
  const found = fakeImage([other]).layers[0];
  await assert.rejects(pull(registry, testOptions()), (error: Error & { code: string }) => {
    assert.equal(error.code, "ERR_DIGEST");
    assert.ok(error.message.includes(DIGEST) && error.message.includes(found!), error.message);
    return true;
  });
});

for (const [name, body, says] of [
  ["longer, as announced", Buffer.concat([LAYER, LAYER]), /got 600000 bytes, its manifest says 300000/],
  ["shorter, as announced", LAYER.subarray(1), /got 299999 bytes, its manifest says 300000/],
] as const)
  test(`a layer that is ${name}, is an error that names both lengths`, async (t) => {
    const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
      if (!isLayer(request.url)) return false;
      response.writeHead(200, { "content-length": body.length }).end(body);
      return true;
    });
    await assert.rejects(pull(registry, testOptions()), { code: "ERR_LENGTH", message: says });
    assert.equal(layerRequests(registry).length, 1);
  });

test("a body without announced length that does not end is cut off at the layer's size", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (!isLayer(request.url)) return false;
    const more = () => {
      while (!response.destroyed && response.write(LAYER));
    };
    response.on("drain", more);
    more();
    return true;
  });
  await assert.rejects(pull(registry, testOptions()), {
    code: "ERR_LENGTH",
    message: /got at least 3\d\d\d\d\d bytes, its manifest says 300000/,
  });
});

test("429 with Retry-After waits as long as the server asks", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response, seen) => {
    if (!isLayer(request.url) || seen > 0) return false;
    response.writeHead(429, { "retry-after": "7" }).end();
    return true;
  });
  const options = testOptions();
  assert.ok(LAYER.equals(await pull(registry, options)));
  assert.deepEqual(options.waits, [7000]);
});

test("5xx is tried again with growing waits, and then works", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (_request, response, seen) => {
    if (seen > 2) return false;
    response.writeHead(503).end();
    return true;
  });
  const options = testOptions();
  assert.ok(LAYER.equals(await pull(registry, options)));
  const [first, second, third] = options.waits;
  assert.ok(first! >= 500 && first! <= 1000 && second! >= 1000 && second! <= 2000 && third! >= 2000 && third! <= 4000);
});

test("5xx without end is given up", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (_request, response) => {
    response.writeHead(500).end('{"errors":[{"code":"UNKNOWN","message":"disk\\u001b[31m full"}]}');
    return true;
  });
  await assert.rejects(pull(registry, testOptions()), {
    code: "ERR_NETWORK",
    message: /answered 500 \(UNKNOWN: disk \[31m full\) \(gave up after 5 attempts\)/,
  });
});

test("an abort ends the transfer with the signal's reason", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (!isLayer(request.url)) return false;
    response.writeHead(200, { "content-length": LAYER.length });
    response.write(LAYER.subarray(0, 1000));
    return true;
  });
  const controller = new AbortController();
  const reason = new Error("enough");
  const options = testOptions({ signal: controller.signal, onProgress: () => controller.abort(reason) });
  await assert.rejects(pull(registry, options), reason);
});

test("an abort ends the wait between two attempts", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (_request, response) => {
    response.writeHead(503, { "retry-after": "100" }).end();
    setImmediate(() => controller.abort(reason));
    return true;
  });
  const controller = new AbortController();
  const reason = new Error("enough");
  const image = resolveImage(parseSource(`${registry.host}/a/b`), {
    env: testOptions().env,
    signal: controller.signal,
  });
  await assert.rejects(image, reason);
});

test("a consumer that stops early ends the transfer", async (t) => {
  let closed: Promise<unknown> | undefined;
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (!isLayer(request.url)) return false;
    closed = new Promise((resolve) => response.on("close", resolve));
    response.writeHead(200, { "content-length": LAYER.length });
    response.write(LAYER.subarray(0, 1000));
    return true;
  });
  const image = await resolveImage(parseSource(`${registry.host}/a/b`), testOptions());
  for await (const chunk of openLayer(image, image.layers[0]!, testOptions())) {
    assert.equal(chunk.length, 1000);
    break;
  }
  await closed;
});

test("a foreign layer that the registry lacks comes from its own URL, without credentials", async (t) => {
  const elsewhere = await startFakeRegistry(t, IMAGE);
  const foreign = fakeImage([LAYER], {
    layerType: "application/vnd.docker.image.rootfs.foreign.diff.tar",
    layerFields: { urls: ["ftp://example.com/x", `http://${elsewhere.host}/blobs/${DIGEST}`] },
  });
  const registry = await startFakeRegistry(t, foreign, (request, response) => {
    if (!isLayer(request.url)) return false;
    response.writeHead(404).end();
    return true;
  });
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
  assert.deepEqual(
    elsewhere.requests.map((r) => [r.line, r.headers.authorization]),
    [[`GET /blobs/${DIGEST}`, undefined]],
  );
});

test("a layer of no bytes is read without a fuss", async (t) => {
  const empty = fakeImage([Buffer.alloc(0)]);
  const registry = await startFakeRegistry(t, empty);
  assert.equal((await pull(registry, testOptions())).length, 0);
});
