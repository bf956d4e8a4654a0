import assert from "node:assert/strict";
import { test } from "node:test";
import type { Reading } from "../guest/index.ts";
import { markdownReport } from "../kit/index.ts";
import { reportOf } from "./report.ts";
import { type CaseResult, checkSame, type Results } from "./results.ts";

const NONE = { total: 0, available: 0, cached: 0, buffers: 0, slab: 0 };
const reading = (seconds: number, files: number): Reading => ({
  reader: "lean",
  seconds,
  files,
  bytes: 1000,
  othersSeconds: 0,
  stolenSeconds: 0,
  disturbed: false,
  guest: { ...NONE, cached: 3 << 20 },
  processes: { own: 0, mappedFiles: 0 },
  pageCacheBefore: 0,
  pageCache: 0,
});
const made = (id: string, seconds: number, files: number, part?: string): CaseResult => ({
  id,
  name: id,
  kind: "ours",
  ...(part && { part }),
  runs: [
    {
      round: 1,
      accelerator: "tcg",
      guestEmpty: NONE,
      guestAtStart: NONE,
      processesEmpty: { own: 0, mappedFiles: 0 },
      readings: [reading(seconds, files)],
    },
  ],
});
const CASES = [made("pmem", 6, 1000), made("imagefs", 30, 1000), made("pmem-part", 1, 100, "fs")];
const RESULTS: Results = {
  benchmark: "tree",
  date: "2026-11-01T00:00:00Z",
  machine: { processor: "p", cores: 2, arch: "x64", memoryBytes: 1, kernel: "k", system: "s", versions: {} },
  rounds: 1,
  guestMemoryBytes: 2 ** 30,
  guestCpus: 2,
  cases: CASES,
};

test("each way is held against EROFS over virtio-pmem, the whole tree and its part apart", () => {
  const text = markdownReport(reportOf(RESULTS));
  assert.match(text, /\| imagefs \| 30\.0 \| 30000 \| 5\.00× \| 3 \|/);
  assert.match(text, /\| pmem-part \| 1\.0 \| 10000 \| 1\.00×/);
  assert.match(reportOf(RESULTS).svg, /empty caches/);
});

test("cases that have read something else are told", () => {
  checkSame(CASES);
  assert.throws(() => checkSame([...CASES, made("passthrough", 1, 999)]), /passthrough read 999 files/);
});
