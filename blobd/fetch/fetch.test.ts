import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type PartialBlob, Store } from "../store/index.ts";
import {
  type BlobSource,
  ChunkFetcher,
  DEFAULT_FETCH,
  FetchError,
  type FetchObserver,
  type FetchOptions,
  folderSource,
  Line,
  registrySource,
  urlSource,
} from "./index.ts";
import { makeTestBlob, type ServerFault, serveSlowly, startBlobServer, type TestBlob } from "./testing.ts";

const blob = await makeTestBlob(32);
const KIB64 = 64 << 10;
const QUICK = { ...DEFAULT_FETCH, giveUpMs: 1500, offlineGiveUpMs: 200, stallMs: 400, retryMs: 10, maxRetryMs: 50 };
const connection = { env: { HOME: "/nonexistent", XDG_RUNTIME_DIR: "/nonexistent" }, stallMs: QUICK.stallMs };

async function openStore(t: TestContext): Promise<Store> {
  const folder = mkdtempSync(join(tmpdir(), "fetch-"));
  const store = await Store.open(join(folder, "store"), { durable: false });
  t.after(() => {
    store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return store;
}

interface Made {
  readonly fetcher: ChunkFetcher;
  readonly partial: PartialBlob;
  readonly store: Store;
  /** Reads a chunk and compares it. */
  check(chunk: number): Promise<void>;
}

async function makeFetcher(
  t: TestContext,
  sources: readonly BlobSource[],
  options: Partial<FetchOptions> = {},
  observer: FetchObserver = {},
  given: { store?: Store; line?: Line; from?: TestBlob } = {},
): Promise<Made> {
  const from = given.from ?? blob;
  const store = given.store ?? (await openStore(t));
  const partial = (await store.partials.open(from.source))!;
  const line = given.line ?? new Line({ ...QUICK, readAheadBytes: 0, ...options });
  const fetcher = new ChunkFetcher(partial, sources, line, observer);
  t.after(() => fetcher.close());
  const check = async (chunk: number) => {
    const into = Buffer.alloc(KIB64);
    await fetcher.read(into, chunk * KIB64);
    assert.ok(into.equals(from.content.subarray(chunk * KIB64, (chunk + 1) * KIB64)), `chunk ${chunk}`);
  };
  return { fetcher, partial, store, check };
}

const at = (origin: string) => urlSource(new URL(`${origin}/blob`), connection);

test("what is read is fetched, and nothing else", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { fetcher, partial, check } = await makeFetcher(t, [at(server.origin)]);
  await check(5);
  await check(5);
  assert.equal(server.ranges.length, 1);
  assert.equal(partial.countPresent(), 1);
  const into = Buffer.alloc(100);
  await fetcher.read(into, 9 * KIB64 - 50);
  assert.ok(into.equals(blob.content.subarray(9 * KIB64 - 50, 9 * KIB64 + 50)));
  assert.equal(server.ranges.length, 2, "two neighbours come by one request");
  assert.deepEqual(
    { ...fetcher.counts, storedBytes: 0 },
    { chunks: 3, storedBytes: 0, runs: 2, foreignChunks: 0, failedChunks: 0 },
  );
  await fetcher.ensure(0, 0);
});

test("a chunk is fetched once, however many wait for it", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { check } = await makeFetcher(t, [at(server.origin)]);
  await Promise.all(Array.from({ length: 64 }, (_, i) => check(i % 4)));
  const bytes = server.ranges.reduce(
    (sum, range) => sum + Number(range.split("-")[1]) - Number(range.split("-")[0]) + 1,
    0,
  );
  assert.ok(bytes < 4 * KIB64, `${server.ranges}`);
});

test("all of it comes by few requests, is told as it comes, and becomes the store's", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const told: number[] = [];
  let whole = 0;
  const { fetcher, partial, store } = await makeFetcher(
    t,
    [at(server.origin)],
    { runBytes: 400_000 },
    {
      onChunk: (chunk, isRead) => {
        assert.equal(isRead, false, "nobody reads");
        told.push(chunk);
      },
      onWhole: () => whole++,
    },
  );
  await fetcher.fetchAll();
  assert.equal(told.length, 32);
  assert.equal(whole, 1);
  assert.ok(server.ranges.length < 8, `${server.ranges}`);
  assert.equal(await store.partials.complete(partial), "named");
  assert.equal(await store.verifyBlob(blob.source.contentHex), "good");
});

test("a sequential reader finds the next chunks there already", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { check, partial } = await makeFetcher(t, [at(server.origin)], { readAheadBytes: 8 * KIB64 });
  for (const chunk of [0, 1, 2, 3]) await check(chunk);
  await sleep(50);
  assert.ok(partial.countPresent() >= 6, `${partial.countPresent()}`);
  for (let chunk = 4; chunk < 32; chunk++) await check(chunk);
  assert.ok(server.ranges.length < 16, `${server.ranges.length}`);
});

test("readers go before what is prefetched", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = (request, response) => {
    setTimeout(() => server.serve(request, response), 20);
    return true;
  };
  const { fetcher, check } = await makeFetcher(t, [at(server.origin)], { connections: 1, runBytes: 1 });
  const done: number[] = [];
  const prefetched = fetcher.prefetch([...Array(16).keys(), -1, 999]).then(() => done.push(-1));
  await check(15).then(() => done.push(15));
  await check(30).then(() => done.push(30));
  await prefetched;
  assert.deepEqual(done, [15, 30, -1]);
  assert.equal(server.ranges.length, 17);
});

const PASSING: readonly [string, ServerFault][] = [
  ["an error of the server", (_, response) => !!response.writeHead(500).end()],
  ["too many requests", (_, response) => !!response.writeHead(429, { "retry-after": "1" }).end()],
  ["a connection that breaks", (request) => !!request.socket.destroy()],
  [
    "another range than was asked for",
    (_, response) => !!response.writeHead(206, { "content-range": "bytes 0-9/100" }).end("0123456789"),
  ],
];
for (const [name, fault] of PASSING)
  test(`${name}, twice, is got over`, async (t) => {
    const server = await startBlobServer(t, blob.stored);
    server.fault = (request, response, seen) => seen < 2 && fault(request, response, seen);
    const { check } = await makeFetcher(t, [at(server.origin)]);
    await check(3);
    assert.equal(server.ranges.length, 3);
  });

test("a transfer that is cut goes on behind the chunks that are whole", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = (request, response, seen) => {
    if (seen > 0) return false;
    server.serve(request, response, (bytes) => bytes.subarray(0, 150_000));
    return true;
  };
  const { fetcher, check } = await makeFetcher(t, [at(server.origin)]);
  await fetcher.fetchAll();
  const starts = server.ranges.map((range) => Number(range.split("-")[0]));
  assert.ok(starts[1]! > 60_000, `${server.ranges}`);
  for (const chunk of [0, 3, 4, 31]) await check(chunk);
});

test("flipped bits are never seen: a transfer in which one flips is repeated", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = (request, response, seen) => {
    server.serve(request, response, (bytes) => {
      const copy = Buffer.from(bytes);
      if (seen < 2) copy[(seen * 7919) % copy.length]! ^= 1 << (seen % 8);
      return copy;
    });
    return true;
  };
  const { check } = await makeFetcher(t, [at(server.origin)]);
  await check(3);
  assert.equal(server.ranges.length, 3);
});

test("a source with wrong bytes only is given up soon, and the next one is asked", async (t) => {
  const bad = await startBlobServer(t, Buffer.from(blob.stored.map((byte) => byte ^ 0x40)));
  const good = await startBlobServer(t, blob.stored);
  const alone = await makeFetcher(t, [at(bad.origin)]);
  await assert.rejects(alone.check(0), (error) => {
    assert.ok(error instanceof FetchError);
    assert.equal(error.code, "ERR_FETCH_REFUSED");
    assert.match(error.message, /chunk 0 cannot be had: chunk 0 came with a wrong checksum/);
    return true;
  });
  assert.equal(bad.ranges.length, 3);
  assert.equal(alone.partial.countPresent(), 0);
  const both = await makeFetcher(t, [at(bad.origin), at(good.origin)]);
  await both.check(0);
  assert.equal(good.ranges.length, 1);
});

test("a source that has not got the blob, or serves no parts, is left out", async (t) => {
  const missing = await startBlobServer(t, blob.stored);
  missing.fault = (_, response) => !!response.writeHead(404).end();
  const whole = await startBlobServer(t, blob.stored);
  whole.fault = (_, response) => !!response.writeHead(200, { "content-length": blob.stored.length }).end(blob.stored);
  const good = await startBlobServer(t, blob.stored);
  const made = await makeFetcher(t, [at(missing.origin), at(whole.origin), at(good.origin)]);
  for (const chunk of [0, 5, 9]) await made.check(chunk);
  assert.deepEqual(
    [missing, whole, good].map(({ ranges }) => ranges.length),
    [1, 1, 3],
  );
  const none = await makeFetcher(t, [at(missing.origin), at(whole.origin)]);
  await assert.rejects(none.check(0), (error) => {
    assert.ok(error instanceof FetchError && error.code === "ERR_FETCH_REFUSED");
    assert.match(error.message, /answered 404.*does not serve parts of it/);
    return true;
  });
});

test("a line that is down costs a reader the time that is set, then less, and is found up again", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { check, fetcher } = await makeFetcher(t, [at(server.origin)], { giveUpMs: 600 });
  await check(0);
  server.stop();
  const timed = async (chunk: number) => {
    const startMs = performance.now();
    await assert.rejects(check(chunk), (error) => error instanceof FetchError && error.code === "ERR_FETCH_OFFLINE");
    return performance.now() - startMs;
  };
  const first = await timed(1);
  assert.ok(first > 400 && first < 1500, `${first} ms`);
  await check(0);
  const second = await timed(2);
  assert.ok(second < 500, `${second} ms`);
  const many = performance.now();
  await Promise.all(Array.from({ length: 20 }, (_, i) => timed(3 + i)));
  assert.ok(performance.now() - many < 1500);
  await server.restart();
  await sleep(60);
  await check(1);
  assert.ok(fetcher.counts.failedChunks >= 2);
});

test("a server that accepts and says nothing is like one that is down", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = () => true;
  const { check } = await makeFetcher(t, [at(server.origin)]);
  const startMs = performance.now();
  await assert.rejects(check(1), (error) => error instanceof FetchError && error.code === "ERR_FETCH_OFFLINE");
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 1000 && tookMs < 4000, `${tookMs} ms`);
});

test("a slow source is waited for as long as something comes, up to the time for a chunk", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = serveSlowly(blob.stored, 20_000);
  const patient = await makeFetcher(t, [at(server.origin)]);
  const startMs = performance.now();
  await patient.check(1);
  assert.ok(performance.now() - startMs > 1000);
  const hasty = await makeFetcher(t, [at(server.origin)], { chunkMs: 500 });
  await assert.rejects(hasty.check(1), (error) => error instanceof FetchError && error.code === "ERR_FETCH_OFFLINE");
});

test("a bandwidth limit is kept", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { fetcher } = await makeFetcher(t, [at(server.origin)], { bytesPerSecond: 500_000 });
  const startMs = performance.now();
  await fetcher.ensure(0, 16 * KIB64);
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 800 && tookMs < 2500, `${tookMs} ms for ${fetcher.counts.storedBytes} bytes`);
});

test("connections are no more than the limit, over all blobs of a line", async (t) => {
  const other = await makeTestBlob(16);
  let [busy, most] = [0, 0];
  const servers = [await startBlobServer(t, blob.stored), await startBlobServer(t, other.stored)];
  for (const server of servers)
    server.fault = (request, response) => {
      most = Math.max(most, ++busy);
      setTimeout(() => {
        busy--;
        server.serve(request, response);
      }, 10);
      return true;
    };
  const line = new Line({ ...QUICK, connections: 3, runBytes: 1, readAheadBytes: 0 });
  const store = await openStore(t);
  const one = await makeFetcher(t, [at(servers[0]!.origin)], {}, {}, { store, line });
  const two = await makeFetcher(t, [at(servers[1]!.origin)], {}, {}, { store, line, from: other });
  await Promise.all([one.fetcher.ensure(0, 16 * KIB64), two.fetcher.ensure(0, 16 * KIB64)]);
  assert.equal(most, 3);
});

test("two openings of one blob fetch each chunk once between them", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = (request, response) => {
    setTimeout(() => server.serve(request, response), 15);
    return true;
  };
  const store = await openStore(t);
  const one = await makeFetcher(t, [at(server.origin)], { runBytes: 1 }, {}, { store });
  const two = await makeFetcher(t, [at(server.origin)], { runBytes: 1 }, {}, { store });
  await Promise.all([one, two].flatMap((made) => Array.from({ length: 16 }, (_, chunk) => made.check(chunk))));
  assert.equal(new Set(server.ranges).size, server.ranges.length, `${server.ranges}`);
  assert.equal(one.fetcher.counts.chunks + two.fetcher.counts.chunks, 16);
  assert.ok(one.fetcher.counts.foreignChunks + two.fetcher.counts.foreignChunks >= 16);
});

test("a chunk that another opening gives up is fetched by the one who waits", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { check, store } = await makeFetcher(t, [at(server.origin)]);
  const other = (await store.partials.open(blob.source))!;
  assert.ok(other.tryClaim(4));
  setTimeout(() => other.close(), 100);
  const startMs = performance.now();
  await check(4);
  assert.ok(performance.now() - startMs > 80);
});

test("closing ends what is on its way, at once, and tells who waits", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = () => true;
  const { check, fetcher, store } = await makeFetcher(t, [at(server.origin)], { connections: 2, runBytes: 1 });
  const closed = (error: unknown) => error instanceof FetchError && error.code === "ERR_FETCH_CLOSED";
  const waits = [1, 2, 3, 4].map((chunk) => assert.rejects(check(chunk), closed));
  await sleep(50);
  const startMs = performance.now();
  await fetcher.close();
  await Promise.all(waits);
  assert.ok(performance.now() - startMs < 300);
  await assert.rejects(check(1), closed);
  const again = (await store.partials.open(blob.source))!;
  assert.ok(again.tryClaim(1), "claims are given back");
  again.close();
});

test("a folder is a source, as an image layout or with the blobs in itself", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fetch-folder-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const hex = blob.digest.slice(7);
  writeFileSync(join(folder, hex), blob.stored);
  const flat = await makeFetcher(t, [folderSource(folder, blob.digest)]);
  await flat.check(31);
  mkdirSync(join(folder, "layout/blobs/sha256"), { recursive: true });
  writeFileSync(join(folder, "layout/blobs/sha256", hex), blob.stored);
  const layout = await makeFetcher(t, [folderSource(join(folder, "layout"), blob.digest)]);
  await layout.fetcher.fetchAll();
  const none = await makeFetcher(t, [folderSource(join(folder, "none"), blob.digest)]);
  await assert.rejects(none.check(0), /no such file or directory/);
});

test("a registry's token that runs out is renewed, in the middle of a blob", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  let tokens = 0;
  let uses = 0;
  const authorizations: (string | undefined)[] = [];
  server.fault = (request, response) => {
    if (request.url?.startsWith("/token")) {
      uses = 0;
      return !!response.writeHead(200).end(JSON.stringify({ token: `t${++tokens}`, expires_in: 3600 }));
    }
    authorizations.push(request.headers.authorization);
    // Each token is good for three requests, whatever it was said to live.
    if (request.headers.authorization === `Bearer t${tokens}` && uses++ < 3) return false;
    const challenge = `Bearer realm="${server.origin}/token",service="test"`;
    return !!response.writeHead(401, { "www-authenticate": challenge }).end();
  };
  const endpoint = { origin: server.origin, host: "test", prefix: "" };
  const { check } = await makeFetcher(t, [registrySource(endpoint, "a/b", blob.digest, connection)], { runBytes: 1 });
  for (let chunk = 0; chunk < 10; chunk++) await check(chunk);
  assert.ok(tokens >= 3, `${tokens} tokens`);
  assert.equal(authorizations[0], undefined);
});

test("a registry that does not let us in is told as such, at once", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  server.fault = (_, response) => !!response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
  const endpoint = { origin: server.origin, host: "test", prefix: "" };
  const { check } = await makeFetcher(t, [registrySource(endpoint, "a/b", blob.digest, connection)]);
  const startMs = performance.now();
  await assert.rejects(check(0), /access denied; it needs credentials: none are stored for test/);
  assert.ok(performance.now() - startMs < 500);
});

test("a full disk is told to the reader, and is no fault of the line", async (t) => {
  const server = await startBlobServer(t, blob.stored);
  const { check, partial, fetcher } = await makeFetcher(t, [at(server.origin)]);
  t.mock.method(partial, "put", async () => {
    throw Object.assign(new Error("disk full"), { code: "ERR_STORE_FULL" });
  });
  await assert.rejects(check(0), /disk full/);
  t.mock.restoreAll();
  await check(0);
  assert.equal(fetcher.counts.failedChunks, 1);
});
