import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FilterError, parseFilters } from "./index.ts";

/** The cases of containerd's own pkg/filters/filter_test.go, by the numbers of the entries that match. */
const CORPUS: readonly { name: string; other?: string; labels?: Record<string, string> }[] = [
  { name: "foo", labels: { foo: "true" } },
  { name: "bar" },
  { name: "foo", labels: { foo: "present", "more complex label": "present" } },
  { name: "bar", labels: { bar: "true" } },
  { name: "fooer", labels: { 'more complex label with \\ and "': "present" } },
  { name: "fooer", labels: { 'more complex label with \\ and ".post': "present" } },
  { name: "baz", other: "too complex, yo" },
  { name: "bazo", other: "abc" },
  { name: "compound", labels: { foo: "omg_asdf.asdf-qwer" } },
];

function matching(...filters: string[]): number[] {
  const filter = parseFilters(filters);
  return CORPUS.flatMap((entry, i) => {
    const fields = ([first, ...rest]: readonly string[]) => {
      if (first === "labels") return entry.labels?.[rest.join(".")];
      return first === "name" ? entry.name : first === "other" ? entry.other : undefined;
    };
    return filter(fields) ? [i] : [];
  });
}

const ALL = CORPUS.map((_, i) => i);
const MATCHES: readonly [filter: string, expected: number[]][] = [
  ["", ALL],
  ["name", ALL],
  ["labels.foo", [0, 2, 8]],
  ["labels.foo,name", [0, 2, 8]],
  ["labels.foo==true", [0]],
  ["labels.foo==omg_asdf.asdf-qwer", [8]],
  ["name==bar", [1, 3]],
  ["name!=bar", [0, 2, 4, 5, 6, 7, 8]],
  ["name==bar,labels.bar", [3]],
  ['other=="too complex, yo"', [6]],
  ["other~=[abc]+,name!=foo", [6, 7]],
  ["other~=/[abc]+/,name!=foo", [6, 7]],
  ["other~=/[abc]{1,2}/,name!=foo", [6, 7]],
  ['other~=/[abc]{0,1}"\\//,name!=foo', []],
  ["name==bar,labels.bar==true", [3]],
  ["name==bar,labels.bar==wrong", []],
  ['name==foo,labels."more complex label"', [2]],
  ['labels."more complex label with \\\\ and \\""==present', [4]],
  ['labels."more complex label with \\\\ and \\"".post==present', [5]],
  ['name=="b\\x61r"', [1, 3]],
  ["labels.missing!=x,name==bar", [1, 3]],
];
for (const [filter, expected] of MATCHES)
  test(`${filter || "the empty filter"} matches as in containerd`, () => assert.deepEqual(matching(filter), expected));

test("without filters all match, of several one must", () => {
  assert.deepEqual(matching(), ALL);
  assert.deepEqual(matching("name==bar", "labels.foo==true"), [0, 1, 3]);
});

const REFUSED = [
  "labels.|foo|==omg_asdf.asdf-qwer",
  'labels.?"more complex label with \\\\ and \\"".post==present',
  "name==foo,",
  "labels.",
  "image~=,id?=?fbaq",
  "labels.ns/key==value",
  "labels.key==/value",
  "name=foo",
  "name===foo",
  "name~=(",
  'name=="\\q"',
  'name=="\\x6"',
  "==foo",
  ",",
  "x".repeat(20_000),
];
for (const filter of REFUSED)
  test(`${filter.slice(0, 60)} is refused`, () => assert.throws(() => parseFilters([filter]), FilterError));

test("no text does worse than be refused", () => {
  const part = fc.constantFrom("name", "labels", ".", ",", "==", "!=", "~=", '"', "\\", "/", "|", " ", "x41", "(", "é");
  const text = fc.oneof(
    fc.string(),
    fc.array(part, { maxLength: 12 }).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, (filter) => {
      try {
        parseFilters([filter])(() => "value");
      } catch (error) {
        if (!(error instanceof FilterError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});
