import assert from "node:assert/strict";
import { test } from "node:test";
import { markdownReport } from "../kit/index.ts";
import { READS } from "./host.ts";
import { reportOf } from "./report.ts";
import type { Results, WorkloadResult } from "./results.ts";
import type { Start } from "./starts.ts";
import { isMet, targetsOf } from "./targets.ts";

const start = (firstMs: number, doneMs: number, fetchedMb: number): Start => ({
  firstMs,
  doneMs,
  fetchedBytes: fetchedMb * 1e6,
  fetchedChunks: 1,
  othersSeconds: 0,
  stolenSeconds: 0,
  disturbed: false,
});

const PYTHON: WorkloadResult = {
  id: "python",
  name: "python3 imports",
  listedBytes: 1,
  starts: {
    warm: [start(4000, 10_000, 0)],
    // 100 MB take 4 s on the line: 12 s are left, 1.2 times warm.
    lazy: [start(6000, 16_000, 100), start(6000, 17_000, 100), start(6000, 15_000, 100)],
    listed: [start(5000, 20_000, 25)],
    optimized: [start(4500, 11_000, 20)],
  },
};

const RESULTS: Results = {
  benchmark: "lazy",
  date: "2026-11-01T00:00:00Z",
  machine: { processor: "p", cores: 2, arch: "x64", memoryBytes: 1, kernel: "k", system: "s", versions: {} },
  rounds: 3,
  link: { bytesPerSecond: 25e6, roundTripMs: 10 },
  contentBytes: 1000e6,
  storedBytes: 400e6,
  tarBytes: 500e6,
  convertSeconds: [20, 22, 21],
  workloads: [PYTHON],
  host: {
    blobBytes: 800e6,
    coldFaultsUs: [10_000, 12_000],
    warmFaultsUs: [5, 6],
    plainFaultsUs: [4, 4],
    warm: READS.map((read) => ({
      read,
      plainSeconds: 1,
      givenSeconds: 1.01,
      earlierSeconds: 1.2,
      othersSeconds: 0,
      stolenSeconds: 0,
      disturbed: false,
    })),
    readers: { count: 64, seconds: 3, tookMs: [1, 2, 1200] },
  },
};

test("lazy starts are held against warm ones and what they fetched, warm files against plain ones", () => {
  const found = targetsOf(RESULTS).map((target) => [target.value.toFixed(2), isMet(target)]);
  assert.deepEqual(found, [
    ["1.20", true],
    ["1.90", false],
    ...READS.map(() => ["1.01", true]),
    ...READS.map(() => ["1.20", false]),
    ["1200.00", false],
  ]);
});

test("the tables have the conversion with the start that follows it, and shares of the image", () => {
  const text = markdownReport(reportOf(RESULTS));
  assert.match(text, /\| python3 imports \| 31\.0 \| 16\.0 \(15\.0 to 17\.0\) \| 20\.0 \| 11\.0 \| 10\.0 \|/);
  assert.match(
    text,
    /\| 4\.0 \| 6\.0 \| 5\.0 \| 4\.5 \| 100\.0 \(25\.0 %\) \| 25\.0 \(6\.3 %\) \| 20\.0 \(5\.0 %\) \|/,
  );
  assert.match(text, /≤ 1000 ms \| 1200 ms \| missed/);
  assert.match(reportOf(RESULTS).svg, /converted first/);
  assert.doesNotMatch(markdownReport(reportOf({ ...RESULTS, workloads: [] })), /NaN/);
});
