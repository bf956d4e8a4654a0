import assert from "node:assert/strict";
import { test } from "node:test";
import { drawCharts, formatTable, isDisturbed, markdownTable, spread } from "./index.ts";

test("spread: the middle one of an odd number, the mean of the middle two of an even one", () => {
  assert.deepEqual(spread([3, 1, 10]), { median: 3, min: 1, max: 10 });
  assert.deepEqual(spread([4, 1, 10, 3]), { median: 3.5, min: 1, max: 10 });
  assert.deepEqual(spread([-2]), { median: -2, min: -2, max: -2 });
  assert.throws(() => spread([]), RangeError);
});

test("tables: names to the left, numbers to the right", () => {
  const rows = [
    ["", "wall s"],
    ["tar xzf", "10.50"],
    ["a", "2"],
  ];
  assert.equal(formatTable(rows), "         wall s\ntar xzf   10.50\na             2\n");
  assert.equal(markdownTable(rows), "|  | wall s |\n| --- | ---: |\n| tar xzf | 10.50 |\n| a | 2 |\n");
});

test("a measurement is disturbed by others from a tenth of a second and a twenty-fifth of its time on", () => {
  assert.equal(isDisturbed(10, { othersSeconds: 0.3, stolenSeconds: 0.19 }), false);
  assert.equal(isDisturbed(10, { othersSeconds: 0.3, stolenSeconds: 0.21 }), true);
  assert.equal(isDisturbed(1, { othersSeconds: 0.15, stolenSeconds: 0 }), true);
});

test("charts: lengths in proportion to the longest range, names escaped", () => {
  const svg = drawCharts(
    [
      {
        title: "Time",
        unit: "s",
        digits: 1,
        bars: [
          { label: "a<b & c", value: 5, kind: "ours" },
          { label: "d", value: 9, min: 8, max: 10, kind: "peer" },
        ],
      },
    ],
    "two bars",
  );
  const widths = [...svg.matchAll(/<rect class="\w+" [^>]*width="([\d.]+)"/g)].map(([, width]) => Number(width));
  assert.equal(widths.length, 2);
  assert.ok(Math.abs(widths[1]! / widths[0]! - 9 / 5) < 0.01, `${widths}`);
  assert.match(svg, />a&lt;b &amp; c</);
  assert.match(svg, />5\.0 s</);
  assert.equal(svg.match(/class="range"/g)?.length, 1);
});
