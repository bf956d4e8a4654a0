import assert from "node:assert/strict";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { makeTestBlob } from "../fetch/testing.ts";
import { startTestService } from "./testing.ts";

// What `blobd serve` tells Prometheus, scraped after reads that were waited for, found and failed.

const CHUNK = 64 << 10;
const CHUNKS = 32;
const DELAY_MS = 40;

async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

test("fault latency, hits, fetches and the store's size", async (t) => {
  const blob = await makeTestBlob(CHUNKS, CHUNK);
  const metrics = await freeAddress();
  const { server, serving, ask } = await startTestService(t, blob, {}, undefined, { metrics });
  let isDown = false;
  server.fault = (request, response) => {
    if (isDown) response.destroy();
    else setTimeout(() => server.serve(request, response), DELAY_MS);
    return true;
  };
  const { path } = (await ask()).served[0]!;
  const file = await open(path, "r");
  t.after(() => file.close());
  const read = (chunk: number) => file.read(Buffer.alloc(100), 0, 100, chunk * CHUNK);
  // Apart from each other, so that the kernel reads for each of them alone.
  for (const chunk of [0, 8, 16]) await read(chunk);
  isDown = true;
  await assert.rejects(read(24), { code: "EIO" });
  const hitsBefore = serving.service.totals.hits;
  // Past the page cache, which answers by itself.
  const direct = await open(path, constants.O_RDONLY | constants.O_DIRECT);
  t.after(() => direct.close());
  for (let i = 0; i < 5; i++) await direct.read(Buffer.alloc(4096), 0, 4096, 8 * CHUNK);

  const answer = await fetch(`http://${metrics}/metrics`);
  assert.match(answer.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  const told = (line: string) => {
    const found = text.split("\n").find((one) => one.startsWith(`${line} `));
    assert.ok(found !== undefined, `${line} in ${text}`);
    return Number(found.slice(line.length + 1));
  };
  const faults = told('blobd_serve_fault_seconds_count{result="ok"}');
  assert.ok(faults >= 3 && faults < 8, `${faults} faults`);
  const seconds = told('blobd_serve_fault_seconds_sum{result="ok"}');
  assert.ok(seconds >= (faults * DELAY_MS) / 1000 && seconds < faults, `${seconds} s`);
  assert.equal(told('blobd_serve_fault_seconds_bucket{le="0.02",result="ok"}'), 0);
  assert.equal(told('blobd_serve_fault_seconds_bucket{le="5",result="ok"}'), faults);
  assert.ok(told('blobd_serve_fault_seconds_count{result="error"}') >= 1);
  const { chunks, storedBytes, hits } = serving.service.totals;
  assert.ok(chunks >= 3 && chunks < CHUNKS && storedBytes > 0, `${chunks} chunks, ${storedBytes} bytes`);
  assert.equal(told("blobd_serve_fetched_chunks_total"), chunks);
  assert.equal(told("blobd_serve_fetched_bytes_total"), storedBytes);
  assert.equal(hits - hitsBefore, 5);
  assert.equal(told("blobd_serve_hits_total"), hits);
  assert.equal(told("blobd_serve_blobs"), 1);
  assert.equal(told('blobd_serve_store_entries{kind="partial"}'), 1);
  assert.equal(told('blobd_serve_store_entries{kind="blob"}'), 0);
  const bytes = told('blobd_serve_store_bytes{kind="partial"}');
  assert.ok(bytes >= chunks * CHUNK && bytes < blob.content.length, `${bytes} bytes`);
  assert.equal((await fetch(`http://${metrics}/other`)).status, 404);
});

test("an address that is taken is an error, and leaves no mount", async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  t.after(() => taken.close());
  const metrics = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  const blob = await makeTestBlob(1, CHUNK);
  await assert.rejects(startTestService(t, blob, {}, undefined, { metrics }), { code: "EADDRINUSE" });
});
