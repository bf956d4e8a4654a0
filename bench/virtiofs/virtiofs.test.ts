import assert from "node:assert/strict";
import { test } from "node:test";
import { markdownReport } from "../kit/index.ts";
import { CASES, type CaseId } from "./case.ts";
import type { GuestRun, Reading } from "./readings.ts";
import { reportOf } from "./report.ts";
import { type CaseResult, figure, type Results, serverMicroseconds } from "./results.ts";
import { argsOf, ROWS, type RowId, rowGroups, rowOf } from "./rows.ts";
import { isMet, targetsOf } from "./targets.ts";

const MIB = 1 << 20;

function reading(row: RowId, seconds: number, cacheMib = 0): Reading {
  return {
    row,
    operations: 1000,
    bytes: 512 * MIB,
    seconds,
    userSeconds: seconds / 4,
    systemSeconds: seconds / 4,
    othersSeconds: 0,
    stolenSeconds: 0,
    disturbed: false,
    cacheGrowthBytes: cacheMib * MIB,
  };
}

function made(id: CaseId, ...rounds: Reading[][]): CaseResult {
  const { name, kind, against, isDax, isShownOnly } = CASES.find((one) => one.id === id)!;
  const runs = rounds.map(
    (readings, i): GuestRun => ({
      round: i + 1,
      accelerator: "tcg",
      readings,
      anonymousAtStart: MIB,
      anonymous: 3 * MIB,
    }),
  );
  const marks = { ...(against && { against }), ...(isDax && { isDax }), ...(isShownOnly && { isShownOnly }) };
  return { id, name, kind, ...marks, runs };
}

const VIRTIOFSD = made(
  "virtiofsd",
  [reading("stat", 2), reading("read", 8, 512)],
  [reading("stat", 4), reading("read", 8)],
);
const BLOBD = made("blobd", [reading("stat", 3.5), reading("read", 8.2)]);
const DAX = made("blobd-dax-inode", [reading("stat", 2), reading("read", 2, 9)]);
const RESULTS: Results = {
  benchmark: "virtiofs",
  date: "2026-11-01T00:00:00Z",
  machine: { processor: "p", cores: 2, arch: "x64", memoryBytes: 1, kernel: "k", system: "s", versions: {} },
  rounds: 2,
  guestMemoryBytes: 1,
  guestCpus: 2,
  cases: [VIRTIOFSD, BLOBD, DAX],
  mappings: [{ live: 50, milliseconds: 0.3 }],
  inodes: {
    inodes: 1e6,
    seconds: 30,
    anonymousBefore: 9 * MIB,
    anonymousAfter: 10 * MIB,
    sharedBefore: 0,
    sharedAfter: 64 * MIB,
  },
};

test("figures: microseconds an operation, or data in a second; the server's time an operation", () => {
  assert.deepEqual(figure(VIRTIOFSD, "stat"), { median: 3000, min: 2000, max: 4000 });
  assert.equal(figure(VIRTIOFSD, "read")?.median, 64);
  assert.equal(serverMicroseconds(BLOBD, "stat")?.median, 1750);
  assert.equal(figure(BLOBD, "untar"), undefined);
});

test("what was wanted is held against virtiofsd with the same settings", () => {
  const found = targetsOf(RESULTS).map((target) => [Number(target.value.toFixed(2)), target.limit, isMet(target)]);
  assert.deepEqual(found, [
    [0.86, 0.95, false], // blobd, stat: 3 / 3.5
    [0.98, 0.95, true], // blobd, read: 8 / 8.2
    [1.5, 0.95, true], // DAX, stat
    [4, 3, true], // DAX, read
    [9, 8, false], // growth of the page cache
    [1, 8, true], // own memory for a million inodes
  ]);
  assert.deepEqual(targetsOf({ cases: [BLOBD] }), [], "nothing to hold it against");
  const tmpfs = made("tmpfs", [reading("read", 3)]);
  assert.deepEqual(targetsOf({ cases: [VIRTIOFSD, tmpfs] }), [], "nothing is wanted of it");
});

test("a second reading follows its first in the same guest, and each case has a folder of its own", () => {
  assert.deepEqual(
    rowGroups(ROWS)
      .filter(({ length }) => length > 1)
      .map((group) => group.map(({ id }) => id)),
    [
      ["read", "reread"],
      ["mapread", "remapread"],
    ],
  );
  assert.equal(argsOf(rowOf("untar"), "blobd"), "untar /tmp/tree.tar /volume/scratch-blobd");
});

test("the report has each row and what was wanted", () => {
  const text = markdownReport(reportOf(RESULTS));
  assert.match(text, /\| stat, 5,000 files \| µs \| 3000 \| 3500 \(0\.86×\) \| 2000 \(1\.50×\) \|/);
  assert.match(text, /\| read 1 MiB, sequential \| MiB\/s \| 64\.0 \| 62\.4 \(0\.98×\) \| 256 \(4\.00×\) \|/);
  assert.match(text, /\| 50 \| 0\.30 \|/);
  assert.match(
    text,
    /read 1 MiB, sequential: times faster than virtiofsd, cache=auto \| ≥ 3\.00 × \| 4\.00 × \| met \|/,
  );
  for (const { name } of ROWS) assert.ok(text.includes(`| ${name} |`), name);
  assert.equal(reportOf(RESULTS).svg.match(/<rect /g)?.length, 6);
});
