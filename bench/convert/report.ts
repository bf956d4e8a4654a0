import { type BarChart, drawCharts, formatTable, markdownTable, type Spread } from "../kit/index.ts";
import type { CaseResult, GroupResult, Results } from "./results.ts";
import { isMet, type Target, targetsOf } from "./targets.ts";

const MIB = 1 << 20;
type Rows = readonly (readonly string[])[];

/** The results as text for a terminal. */
export function textReport(results: Results): string {
  return [
    `${machineLine(results)}\n${noiseLine(results)}\n`,
    ...results.groups.map((group) => `${group.title}\n${indent(formatTable(groupRows(group)))}`),
    `What was wanted\n${indent(formatTable(targetRows(targetsOf(results))))}`,
    `Results compared, path by path\n${indent(
      comparisonLines(results)
        .map((line) => `${line}\n`)
        .join(""),
    )}`,
  ].join("\n");
}

/** The same as Markdown. */
export function markdownReport(results: Results): string {
  return [
    `${machineLine(results)}\n\n${noiseLine(results)}\n`,
    ...results.groups.map((group) => `### ${group.title}\n\n${markdownTable(groupRows(group))}`),
    `### What was wanted\n\n${markdownTable(targetRows(targetsOf(results)))}`,
    `### Results compared, path by path\n\n${comparisonLines(results)
      .map((line) => `- ${line}\n`)
      .join("")}`,
  ].join("\n");
}

/** The results as a picture (SVG). */
export function drawReport(results: Results): string {
  const wall = results.groups
    .filter(({ id }) => id === "image" || id === "linux-source")
    .map((group): BarChart => chartOf(group, "s", 1, ({ wallSeconds }) => wallSeconds));
  const memory = results.groups
    .filter(({ id }) => id === "growth")
    .map(
      (group): BarChart => ({
        ...chartOf(group, "MiB", 0, ({ peakBytes }) => scale(peakBytes, 1 / MIB)),
        title: "Peak memory of erofsify as images grow",
        mark: { value: 300, label: "wanted: below 300 MiB" },
      }),
    );
  return drawCharts([...wall, ...memory], "Time and memory of image conversions; shorter bars are better");
}

function chartOf(group: GroupResult, unit: string, digits: number, of: (one: CaseResult) => Spread): BarChart {
  const bars = group.cases.map((one) => {
    const { median, min, max } = of(one);
    return { label: one.name, kind: one.kind, value: median, min, max };
  });
  return { title: group.title, unit, digits, bars };
}

/** Groups whose cases do the same work, so that their times can be divided by the first one's. */
const COMPARABLE = new Set(["image", "linux-source"]);

function groupRows({ id, cases }: GroupResult): Rows {
  const comparable = COMPARABLE.has(id);
  const base = cases[0]!.wallSeconds.median;
  const head = ["", "wall s", "min", "max", "cpu s", "peak MiB", ...(comparable ? ["to erofsify"] : [])];
  return [
    head,
    ...cases.map(({ name, wallSeconds: wall, cpuSeconds, peakBytes }) => [
      name,
      ...[wall.median, wall.min, wall.max, cpuSeconds.median].map((seconds) => seconds.toFixed(2)),
      (peakBytes.max / MIB).toFixed(0),
      ...(comparable ? [`${(wall.median / base).toFixed(2)}×`] : []),
    ]),
  ];
}

function targetRows(targets: readonly Target[]): Rows {
  const shown = (value: number, unit: Target["unit"]) => `${value.toFixed(unit === "MiB" ? 0 : 2)} ${unit}`;
  return [
    ["", "wanted", "found", ""],
    ...targets.map((target) => [
      target.wanted,
      `≤ ${shown(target.limit, target.unit)}`,
      shown(target.value, target.unit),
      `${isMet(target) ? "met" : "missed"}${target.stretch ? " (stretch)" : ""}`,
    ]),
  ];
}

function comparisonLines({ comparisons }: Results): string[] {
  if (comparisons.length === 0) return ["not compared in this run"];
  return comparisons.map(({ group, name, reference, paths, differences }) => {
    const found = differences.map(({ kind, count, example }) => `${count} × ${kind} (${example})`).join("; ");
    return `${group}, ${name} and ${reference}: ${paths} paths, ${found === "" ? "no difference" : found}`;
  });
}

function machineLine({ machine, date, rounds }: Results): string {
  const gib = (machine.memoryBytes / 2 ** 30).toFixed(0);
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return (
    `${date.slice(0, 10)}, ${rounds} rounds; ${machine.cores} cores of ${machine.processor} (${machine.arch}), ` +
    `${gib} GiB, Linux ${machine.kernel}, ${machine.system}; ${versions.join(", ")}`
  );
}

function noiseLine({ noise }: Results): string {
  const { calibrationMs: calibration } = noise;
  return (
    `Noise: of ${noise.samples} measurements ${noise.disturbed} were disturbed; ${noise.discarded} more were thrown away ` +
    `and made again; other processes took ${noise.othersSeconds.toFixed(1)} s, the virtual machine's host ` +
    `${noise.stolenSeconds.toFixed(1)} s; sha256 of 64 MiB took ${calibration.min.toFixed(0)} to ${calibration.max.toFixed(0)} ms`
  );
}

function scale({ median, min, max }: Spread, factor: number): Spread {
  return { median: median * factor, min: min * factor, max: max * factor };
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}
