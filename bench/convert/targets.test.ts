import assert from "node:assert/strict";
import { test } from "node:test";
import type { CaseResult, GroupResult } from "./results.ts";
import { isMet, targetsOf } from "./targets.ts";

const once = (value: number) => ({ median: value, min: value, max: value });
const result = (name: string, seconds: number, mebibytes = 100): CaseResult => ({
  name,
  kind: "peer",
  wallSeconds: once(seconds),
  cpuSeconds: once(seconds),
  peakBytes: once(mebibytes << 20),
  samples: [],
});
const group = (id: string, cases: readonly CaseResult[]): GroupResult => ({ id, title: id, cases });

test("targets: a third of the peers' time, near the limit, memory below 300 MiB", () => {
  const linuxSource = group("linux-source", [
    result("erofsify", 2, 301),
    result("mkfs.erofs --tar=f --gzip", 6),
    result("tar xzf", 5.9),
    result("limit: zlib in Node.js", 1.6),
    result("limit: ISA-L in Node.js", 1),
  ]);
  const found = targetsOf({ groups: [linuxSource] }).map((target) => [isMet(target), target.stretch ?? false]);
  const [third, justNot, nearZlib, nearIsal, peak] = found;
  assert.equal(found.length, 5);
  assert.deepEqual(
    [third, justNot],
    [
      [true, false],
      [false, false],
    ],
  );
  assert.deepEqual(
    [nearZlib, nearIsal],
    [
      [true, true],
      [false, true],
    ],
  );
  assert.deepEqual(peak, [false, false]);
});

test("targets: what was not measured is not judged, what a group lacks is told", () => {
  assert.deepEqual(targetsOf({ groups: [] }), []);
  assert.throws(() => targetsOf({ groups: [group("merge", [])] }), /no results of .* in group merge/);
});
