import assert from "node:assert/strict";
import { test } from "node:test";
import { markdownReport } from "../kit/index.ts";
import type { CaseId } from "./case.ts";
import type { GuestRun, Reader, Reading } from "./readings.ts";
import { reportOf } from "./report.ts";
import { type CaseResult, cacheGrowth, checkSame, type Results } from "./results.ts";
import { isMet, targetsOf } from "./targets.ts";

const MIB = 1 << 20;
const NONE = { total: 0, available: 0, cached: 0, buffers: 0, slab: 0 };

function reading(reader: Reader, seconds: number, cachedMib: number, changes: Partial<Reading> = {}): Reading {
  return {
    reader,
    seconds,
    ...(reader === "tar" ? { bytes: 5000 } : { files: 7, bytes: 1000 }),
    othersSeconds: 0,
    stolenSeconds: 0,
    disturbed: false,
    guest: { ...NONE, cached: (cachedMib + 100) * MIB, buffers: 2 * MIB },
    processes: { own: 0, mappedFiles: 0 },
    pageCacheBefore: 0,
    pageCache: 0,
    ...changes,
  };
}

/** A case whose three readings take these seconds. */
function made(id: CaseId, kind: CaseResult["kind"], times: [number, number, number], cachedMib: number): CaseResult {
  const [lean, again, tar] = times;
  const run: GuestRun = {
    round: 1,
    accelerator: "tcg",
    guestEmpty: { ...NONE, cached: 100 * MIB },
    guestAtStart: NONE,
    processesEmpty: { own: 0, mappedFiles: 0 },
    readings: [reading("lean", lean, cachedMib), reading("again", again, cachedMib), reading("tar", tar, cachedMib)],
  };
  return { id, name: id, kind, runs: [run] };
}

const CASES = [
  made("pmem", "ours", [6, 4.1, 42], 21),
  made("virtiofs", "peer", [90, 20, 124], 1500),
  made("tmpfs", "limit", [4, 4, 40], 1500),
];
const START = { totalMs: 4000, erofsifyMs: 190, vmmMs: 1000, kernelMs: 2500, mountsMs: 230, commandMs: 80 };
const RESULTS: Results = {
  benchmark: "guest",
  date: "2026-11-01T00:00:00Z",
  machine: { processor: "p", cores: 2, arch: "x64", memoryBytes: 1, kernel: "k", system: "s", versions: {} },
  rounds: 1,
  guestMemoryBytes: 1,
  guestCpus: 2,
  metadataCacheBytes: 20 * MIB,
  cases: CASES,
  starts: [{ ...START, othersSeconds: 0, stolenSeconds: 0, disturbed: false }],
};

test("what was wanted is held against the right cases and readers", () => {
  const found = targetsOf(RESULTS).map((target) => [Number(target.value.toFixed(3)), isMet(target)]);
  assert.deepEqual(found, [
    [15, true], // lean, 90 / 6
    [2.952, false], // tar, 124 / 42
    [1.05, true], // tar, 42 / 40
    [1.5, false], // lean, 6 / 4
    [1.025, true], // lean once more
    [3, true], // 21 + 2 MiB of growth, 20 of them metadata
    [190, true],
    [230, false],
  ]);
});

test("what was not measured is not held against anything", () => {
  assert.deepEqual(targetsOf({ ...RESULTS, cases: [CASES[1]!], starts: [] }), []);
});

test("growth of the page cache counts from before the tree was visible, with block devices' pages", () => {
  assert.equal(cacheGrowth(CASES[0]!, "tar"), 23 * MIB);
});

test("readings that differ are no results", () => {
  const host = { files: 7, bytes: 1000 };
  checkSame(CASES, host);
  assert.throws(
    () => checkSame(CASES, { ...host, files: 8 }),
    /pmem: read 7 files, 1000 bytes; on the host there are 8/,
  );
  const shorter = { ...CASES[2]!.runs[0]!, readings: [reading("tar", 1, 0, { bytes: 4999 })] };
  assert.throws(
    () => checkSame([...CASES, { ...CASES[2]!, runs: [shorter] }], host),
    /archives of different sizes: 5000, 4999/,
  );
});

test("the report has a row for each case and each target, and a bar for each time", () => {
  const text = markdownReport(reportOf(RESULTS));
  assert.match(text, /\| pmem \| 6\.0 \| 1\.00× \| 4\.1 \| 1\.00× \| 42\.0 \| 1\.00× \|/);
  assert.match(text, /\| virtiofs \| 90\.0 \| 15\.00× \|/);
  assert.match(text, /mounts in the guest \| ≤ 200 ms \| 230 ms \| missed \|/);
  assert.equal(reportOf(RESULTS).svg.match(/<rect /g)?.length, CASES.length * 4);
});
