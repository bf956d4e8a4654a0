import { type BarChart, drawCharts, formatTable, markdownTable, type Spread } from "../kit/index.ts";
import { type CaseResult, type Results, targetsOf } from "./results.ts";

const MB = 1e6;
type Rows = readonly (readonly string[])[];

/** The results as text for a terminal. */
export function textReport(results: Results): string {
  return `${headLine(results)}\n\n${formatTable(caseRows(results))}\n${formatTable(targetRows(results))}`;
}

/** The same as Markdown. */
export function markdownReport(results: Results): string {
  return `${headLine(results)}\n\n${markdownTable(caseRows(results))}\n${markdownTable(targetRows(results))}`;
}

/** The results as a picture (SVG). */
export function drawReport({ cases }: Results): string {
  const chart = (title: string, unit: string, digits: number, of: (one: CaseResult) => Spread): BarChart => ({
    title,
    unit,
    digits,
    bars: cases.map((one) => {
      const { median, min, max } = of(one);
      return { label: one.name, kind: one.kind, value: median, min, max };
    }),
  });
  const scaled = ({ median, min, max }: Spread, by: number) => ({ median: median / by, min: min / by, max: max / by });
  return drawCharts(
    [
      chart("ctr images pull: download and unpack", "s", 1, ({ pullSeconds }) => pullSeconds),
      chart("First container: ctr run --rm IMAGE true", "s", 2, ({ firstSeconds }) => firstSeconds),
      chart("Further containers", "s", 2, ({ nextSeconds }) => nextSeconds),
      chart("Disk that the unpacked image takes", "MB", 0, ({ diskBytes }) => scaled(diskBytes, MB)),
    ],
    "An image pulled and run by containerd; shorter bars are better",
  );
}

function caseRows({ cases }: Results): Rows {
  const range = ({ median, min, max }: Spread, digits: number) =>
    `${median.toFixed(digits)} (${min.toFixed(digits)} to ${max.toFixed(digits)})`;
  return [
    ["", "pull, s", "processor, s", "first container, s", "further ones, s", "20th, s", "disk, MB"],
    ...cases.map((one) => [
      one.name,
      range(one.pullSeconds, 2),
      one.pullCpuSeconds.median.toFixed(2),
      range(one.firstSeconds, 2),
      range(one.nextSeconds, 2),
      one.twentiethSeconds.median.toFixed(2),
      (one.diskBytes.median / MB).toFixed(0),
    ]),
  ];
}

function targetRows(results: Results): Rows {
  return [
    ["", "wanted", "found", ""],
    ...targetsOf(results).map(({ wanted, value, limit }) => [
      wanted,
      `≤ ${limit.toFixed(2)} ×`,
      `${value.toFixed(2)} ×`,
      value <= limit ? "met" : "missed",
    ]),
  ];
}

function headLine({ date, rounds, image, machine, cases }: Results): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const disturbed = cases.flatMap(({ samples }) => samples.map((one) => one.othersSeconds + one.stolenSeconds));
  return (
    `${date.slice(0, 10)}, ${rounds} rounds in turn; ${image.layers} layers, ${(image.compressedBytes / MB).toFixed(0)} MB, ` +
    `from a registry on loopback; ${machine.cores} cores of ${machine.processor}, Linux ${machine.kernel}; ` +
    `${versions.join(", ")}; others took ${disturbed.reduce((a, b) => a + b, 0).toFixed(1)} s of processor time during pulls`
  );
}
