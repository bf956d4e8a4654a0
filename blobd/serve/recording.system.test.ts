import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeChunkIndex } from "../../formats/chunk-index/index.ts";
import { formatShortRequest, parseTrace } from "../../formats/control/index.ts";
import type { PrefetchRange } from "../../formats/oci/index.ts";
import { makeTestBlob } from "../fetch/testing.ts";
import { type Started, startTestService } from "./testing.ts";

// What is read first is recorded, of partial and of complete blobs, and fetched ahead elsewhere.

const UNIT = 64 << 10;
/** Larger than what is recorded, so that one does not follow from the other. */
const CHUNK = 256 << 10;
const CHUNKS = 32;
const blob = await makeTestBlob(CHUNKS, CHUNK);
const digest = `sha256:${blob.source.contentHex}`;

async function readAt(path: string, offsets: readonly number[]): Promise<void> {
  const file = await open(path, "r");
  const into = Buffer.alloc(4096);
  for (const offset of offsets) {
    await file.read(into, 0, into.length, offset);
    assert.ok(into.equals(blob.content.subarray(offset, offset + into.length)), `at ${offset}`);
  }
  await file.close();
}

async function traceOf(client: { say(line: string): Promise<Buffer> }) {
  const { blobs, ranges } = parseTrace(await client.say(formatShortRequest("trace")));
  return { blobs, ranges };
}

/** Linux reads up to 128 KiB around what is asked for: the first of each. */
const starts = (ranges: readonly PrefetchRange[]) => ranges.map(({ offset }) => Math.floor(offset / CHUNK));

const wholeFile = async ({ root }: Started) => {
  const path = join(root, "blobs/sha256", blob.source.contentHex);
  for (let i = 0; i < 200 && !existsSync(path); i++) await sleep(20);
  return path;
};

test("what a client reads first is told in that order, once", async (t) => {
  const { ask, serving } = await startTestService(t, blob);
  const plain = await ask();
  const client = await ask(false, undefined, { isRecorded: true });
  assert.notEqual(client.served[0]!.path, plain.served[0]!.path);
  await readAt(client.served[0]!.path, [20 * CHUNK, 3 * CHUNK, 20 * CHUNK + UNIT * 3, 3 * CHUNK, 9 * CHUNK]);
  await readAt(plain.served[0]!.path, [12 * CHUNK]);
  const { blobs, ranges } = await traceOf(client);
  assert.deepEqual(blobs, [digest]);
  assert.deepEqual([...new Set(starts(ranges))], [20, 3, 9]);
  assert.equal(new Set(ranges.map(({ offset }) => offset)).size, ranges.length);
  client.end();
  for (let i = 0; i < 200 && serving.service.shown > 1; i++) await sleep(20);
  assert.equal(serving.service.shown, 1, "the recorded file goes with its client");
});

test("a complete blob is recorded through the mount, and given by its path again afterwards", async (t) => {
  const started = await startTestService(t, blob);
  const first = await started.ask(true);
  const path = await wholeFile(started);
  assert.deepEqual(first.served, [{ path, isComplete: true }]);
  started.server.stop();
  const recorder = started.connect();
  assert.equal((await recorder.say(formatShortRequest("record"))).toString(), '{"recording":true}\n');
  const clients = [await started.ask(), await started.ask()];
  for (const { served } of clients) {
    assert.equal(served[0]!.isComplete, false);
    await readAt(served[0]!.path, [7 * CHUNK]);
  }
  await readAt(clients[1]!.served[0]!.path, [30 * CHUNK]);
  assert.ok((await readFile(clients[0]!.served[0]!.path)).equals(blob.content));
  // Two clients' reads are one list; a whole read puts the rest behind.
  const { blobs, ranges } = await traceOf(recorder);
  assert.deepEqual(blobs, [digest]);
  assert.deepEqual([...new Set(starts(ranges))].slice(0, 3), [7, 30, 0]);
  assert.equal(
    ranges.reduce((sum, { bytes }) => sum + bytes, 0),
    blob.content.length,
  );
  recorder.end();
  await sleep(50);
  assert.deepEqual((await started.ask()).served, [{ path, isComplete: true }]);
});

/** The chunks that the server was asked for, in order. */
function askedChunks({ server }: Started, ends: readonly number[]): number[] {
  return server.ranges.slice(1).map((range) => ends.findIndex((end) => Number(range.split("-")[0]) < end));
}

async function fetchedAll({ serving }: Started, chunks: number): Promise<void> {
  for (let i = 0; i < 400 && serving.service.totals.chunks < chunks; i++) await sleep(10);
  assert.equal(serving.service.totals.chunks, chunks);
}

test("a list is fetched ahead in its order, as far as it lies in the blob; what a reader wants comes before", async (t) => {
  const started = await startTestService(t, blob, { connections: 1 });
  const ends = frameEnds();
  let answer = (): void => {};
  // Held up until the reader has asked as well.
  started.server.fault = (request, response, seen) => {
    if (seen !== 1) return false;
    answer = () => started.server.serve(request, response);
    return true;
  };
  const wanted = [17, 4, 4, 29, 11];
  const prefetch = [
    ...wanted.map((chunk) => ({ blob: 0, offset: chunk * CHUNK + UNIT, bytes: UNIT })),
    { blob: 0, offset: CHUNKS * CHUNK, bytes: UNIT },
    { blob: 0, offset: 2 ** 43, bytes: 2 ** 43 },
  ];
  const { served } = await started.ask(false, undefined, { prefetch });
  for (let i = 0; i < 100 && started.server.ranges.length < 2; i++) await sleep(10);
  const read = readAt(served[0]!.path, [23 * CHUNK]);
  await sleep(100);
  answer();
  await read;
  await fetchedAll(started, 5);
  assert.deepEqual(askedChunks(started, ends), [17, 23, 4, 29, 11]);
});

function frameEnds(): number[] {
  const index = decodeChunkIndex(blob.source.index, blob.source.storedEnd);
  return Array.from({ length: CHUNKS }, (_, i) => index.storedOffset(i) + index.storedBytes(i));
}

test("a list whose client goes is given up", async (t: TestContext) => {
  const started = await startTestService(t, blob, { connections: 1, stallMs: 20_000, giveUpMs: 20_000 });
  started.server.fault = (_request, _response, seen) => seen > 0;
  const prefetch = [{ blob: 0, offset: 0, bytes: blob.content.length }];
  const client = await started.ask(false, undefined, { prefetch });
  for (let i = 0; i < 100 && started.server.ranges.length < 2; i++) await sleep(10);
  client.end();
  for (let i = 0; i < 300 && started.serving.service.shown > 0; i++) await sleep(10);
  assert.equal(started.serving.service.shown, 0);
  assert.equal(started.server.ranges.length, 2);
});
