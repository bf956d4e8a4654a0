import assert from "node:assert/strict";
import { test } from "node:test";
import type { TreeDescription } from "../../builder/testkit/index.ts";
import type { Case } from "./case.ts";
import { compareGroup } from "./equality.ts";

const tree = (paths: Record<string, Record<string, string>>): TreeDescription =>
  new Map(Object.entries(paths).map(([path, facts]) => [path, new Map(Object.entries(facts))]));

function fakeCase(name: string, paths: Record<string, Record<string, string>>, log: string[]): Case {
  const step = (what: string) => async () => void log.push(`${name} ${what}`);
  return {
    name,
    kind: "peer",
    setUp: step("setUp"),
    async measure() {
      log.push(`${name} measure`);
      return { wallSeconds: 1, userSeconds: 1, systemSeconds: 0, peakBytes: 1, stdout: "" };
    },
    describe: async () => tree(paths),
    tearDown: step("tearDown"),
  };
}

test("compareGroup: each tree against the reference's, differences counted by kind", async () => {
  const log: string[] = [];
  const files = { "/": { mode: "40755", mtime: "1.0" }, "/a": { mode: "100644" }, "/b": { mode: "100644" } };
  const comparisons = await compareGroup({
    id: "group",
    title: "a group",
    reference: "reference",
    cases: [
      fakeCase("same", { ...files, "/": { mode: "40755", mtime: "2.0" } }, log),
      fakeCase("reference", files, log),
      fakeCase("other", { "/": files["/"], "/a": { mode: "100600" }, "/.wh.b": {}, "/etc/.wh.c": {}, "/new": {} }, log),
    ],
  });
  assert.deepEqual(comparisons, [
    { group: "group", name: "same", reference: "reference", paths: 3, differences: [] },
    {
      group: "group",
      name: "other",
      reference: "reference",
      paths: 3,
      differences: [
        { kind: "mode differs", count: 1, example: "/a: mode: expected 100644, found 100600" },
        { kind: "missing", count: 1, example: "/b: missing" },
        { kind: "whiteout left in the tree as a file", count: 2, example: "/.wh.b: not expected" },
        { kind: "not expected", count: 1, example: "/new: not expected" },
      ],
    },
  ]);
  assert.deepEqual(log.slice(0, 6), [
    "reference setUp",
    "reference measure",
    "reference tearDown",
    "same setUp",
    "same measure",
    "same tearDown",
  ]);
});
