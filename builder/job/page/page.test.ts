import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversion } from "../queue/index.ts";
import { jobPage, listPage } from "./page.ts";
import { agoText, bytesText, durationText } from "./words.ts";

const NOW = Date.parse("2026-11-27T15:00:00Z");
const conversion = (more: Partial<Conversion> = {}): Conversion => ({
  id: "6d9b9d44-b2d3-4c3b-870b-ee811af05421",
  origin: "distribution",
  registry: "registry.lan:5000",
  repository: "team/app",
  tag: "1.0",
  digest: `sha256:${"ab".repeat(32)}`,
  form: "tag",
  targetTag: "1.0-erofs",
  verity: false,
  platforms: ["linux/amd64"],
  status: "done",
  reason: null,
  errorCode: null,
  events: 1,
  mergedInto: null,
  attempt: 1,
  worker: null,
  cancelRequested: false,
  phase: null,
  doneBytes: null,
  totalBytes: null,
  sourceBytes: 100_000_000,
  targetBytes: 90_000_000,
  targetDigest: `sha256:${"cd".repeat(32)}`,
  created: new Date(NOW - 3_600_000),
  started: new Date(NOW - 3_590_000),
  finished: new Date(NOW - 3_580_000),
  nextTry: null,
  ...more,
});
const page = (conversions: readonly Conversion[], more: object = {}) =>
  listPage(
    {
      conversions,
      counts: new Map(),
      status: undefined,
      next: undefined,
      older: false,
      registries: ["registry.lan"],
      ...more,
    },
    NOW,
  ).text;

test("a finished conversion shows sizes before and after, how long it took, and that it can be repeated", () => {
  const text = page([conversion()]);
  assert.match(text, /100 MB → 90\.0 MB <small>90 %<\/small>/);
  assert.match(text, /10 s<small><time datetime="2026-11-27T14:00:00.000Z">1 h ago/);
  assert.match(text, /Convert again/);
});

test("a running one shows how far it is and can be cancelled; one that waits says when it is tried again", () => {
  const running = page([
    conversion({ status: "running", phase: "pushing", doneBytes: 5e7, totalBytes: 1e8, targetBytes: null }),
  ]);
  assert.match(running, /<progress max="100000000" value="50000000">/);
  assert.match(running, /badge running">pushing/);
  assert.match(running, /jobs\/6d9b9d44-[^"]*\/cancel/);
  const waiting = page([
    conversion({ status: "queued", attempt: 2, reason: "the registry is down", nextTry: new Date(NOW + 30_000) }),
  ]);
  assert.match(waiting, /attempt 2 failed, next in 30 s: the registry is down/);
});

test("nothing that comes from outside becomes markup", () => {
  const evil = `<script>alert("1")</script>'&`;
  const escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;";
  const text = page([conversion({ status: "failed", reason: evil, repository: evil })], {
    error: evil,
    reference: evil,
  });
  assert.ok(!text.includes("<script>alert"));
  assert.equal(text.split(escaped).length - 1, 4);
  assert.ok(!jobPage(conversion({ reason: evil, worker: evil, errorCode: evil }), NOW).text.includes("<script>alert"));
});

test("numbers and times for people", () => {
  assert.deepEqual([0, 999, 1000, 12_345, 1_360_000_000].map(bytesText), [
    "0 B",
    "999 B",
    "1.00 kB",
    "12.3 kB",
    "1.36 GB",
  ]);
  assert.deepEqual([800, 12_000, 185_000, 7_440_000].map(durationText), ["0.8 s", "12 s", "3 min 5 s", "2 h 4 min"]);
  assert.equal(agoText(new Date(NOW - 1000), NOW), "just now");
  assert.equal(agoText(new Date(NOW + 60_000), NOW), "just now"); // A clock that is ahead.
  assert.equal(agoText(new Date(NOW - 72 * 3_600_000), NOW), "3 days ago");
});
