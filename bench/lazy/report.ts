import {
  type Bar,
  type BarChart,
  disturbedOf,
  drawCharts,
  type Report,
  type Rows,
  type Section,
  spread,
  whenAndWhere,
} from "../kit/index.ts";
import { type HostResults, READS } from "./host.ts";
import { MODES, type Mode, over, percentile, type Results, type WorkloadResult } from "./results.ts";
import { isMet, READ_NAMES, targetsOf } from "./targets.ts";

const MB = 1e6;

/** The results as tables and a picture. */
export function reportOf(results: Results): Report {
  return { headLine: headLine(results), sections: sectionsOf(results), svg: drawReport(results) };
}

/** The results as a picture (SVG). */
function drawReport(results: Results): string {
  const charts = results.workloads.map((workload): BarChart => {
    const bar = (mode: Mode): Bar => {
      const { median, min, max } = over(workload, mode, ({ doneMs }) => doneMs / 1000);
      return { label: MODE_NAMES[mode], kind: mode === "warm" ? "limit" : "ours", value: median, min, max };
    };
    const converted: Bar = { label: "converted first", kind: "peer", value: convertedSeconds(results, workload) };
    return {
      title: `${workload.name}, from the start of the command`,
      unit: "s",
      digits: 1,
      bars: [converted, ...MODES_SHOWN.filter((mode) => workload.starts[mode].length > 0).map(bar)],
    };
  });
  return drawCharts(charts, "Guests of an image that is not here, over a slow line; shorter bars are better");
}

const MODES_SHOWN = ["lazy", "listed", "optimized", "warm"] as const;
const MODE_NAMES: Readonly<Record<Mode, string>> = {
  warm: "warm: all is there",
  lazy: "lazy",
  listed: "lazy, with the list of this workload",
  optimized: "lazy, optimized by that list",
};

function convertedSeconds({ convertSeconds }: Results, workload: WorkloadResult): number {
  return spread(convertSeconds).median + over(workload, "warm", ({ doneMs }) => doneMs).median / 1000;
}

function sectionsOf(results: Results): Section[] {
  const { host } = results;
  return [
    { title: "From the start of the command until it is done, s", rows: timeRows(results) },
    { title: "First output, s, and what was fetched, MB", rows: fetchRows(results) },
    ...(host ? [{ title: "On the host, from a registry on loopback", rows: hostRows(host) }] : []),
    { title: "What was wanted of images on demand", rows: targetRows(results) },
  ];
}

function timeRows(results: Results): Rows {
  return [
    ["", "converted first", ...MODES_SHOWN.map((mode) => MODE_NAMES[mode])],
    ...results.workloads.map((workload) => [
      workload.name,
      convertedSeconds(results, workload).toFixed(1),
      ...MODES_SHOWN.map((mode) => {
        if (workload.starts[mode].length === 0) return "";
        const { median, min, max } = over(workload, mode, ({ doneMs }) => doneMs / 1000);
        const range = workload.starts[mode].length > 1 ? ` (${min.toFixed(1)} to ${max.toFixed(1)})` : "";
        return median.toFixed(1) + range;
      }),
    ]),
  ];
}

function fetchRows({ workloads, storedBytes }: Results): Rows {
  const seconds = (workload: WorkloadResult, mode: Mode) =>
    workload.starts[mode].length === 0 ? "" : (over(workload, mode, ({ firstMs }) => firstMs).median / 1000).toFixed(1);
  const fetched = (workload: WorkloadResult, mode: Mode) => {
    if (workload.starts[mode].length === 0) return "";
    const { median } = over(workload, mode, ({ fetchedBytes }) => fetchedBytes);
    return `${(median / MB).toFixed(1)} (${((median / storedBytes) * 100).toFixed(1)} %)`;
  };
  return [
    ["", "first: warm", "lazy", "with its list", "optimized", "fetched: lazy", "with its list", "optimized"],
    ...workloads.map((workload) => [
      workload.name,
      ...MODES.map((mode) => seconds(workload, mode)),
      fetched(workload, "lazy"),
      fetched(workload, "listed"),
      fetched(workload, "optimized"),
    ]),
  ];
}

function hostRows({ coldFaultsUs, warmFaultsUs, plainFaultsUs, warm, readers, blobBytes }: HostResults): Rows {
  const faults = (values: readonly number[], unit: 1 | 1000, digits: number) =>
    [0.5, 0.99, 1].map((share) => (percentile(values, share) / unit).toFixed(digits));
  const { tookMs } = readers;
  return [
    ["", "median", "99 %", "most"],
    ["page fault, fetched, ms", ...faults(coldFaultsUs, 1000, 1)],
    ["page fault, cached, as given before all was there, µs", ...faults(warmFaultsUs, 1, 1)],
    ["page fault, cached, plain file, µs", ...faults(plainFaultsUs, 1, 1)],
    [`${readers.count} readers at once, ${tookMs.length} reads of what is not there, ms`, ...faults(tookMs, 1, 1)],
    ...READS.flatMap((read) =>
      WARM_FILES.map(([which, name]) => {
        const { median, max } = spread(warm.filter((one) => one.read === read).map((one) => one[which]));
        const size = read === "maprand" || read === "randread" ? "200,000 times" : `${(blobBytes / MB).toFixed(0)} MB`;
        return [`${READ_NAMES[read]}, ${size}, ${name}, ms`, (median * 1000).toFixed(0), "", (max * 1000).toFixed(0)];
      }),
    ),
  ];
}

const WARM_FILES = [
  ["plainSeconds", "plain file"],
  ["givenSeconds", "as given when all is there"],
  ["earlierSeconds", "as given before"],
] as const;

function targetRows(results: Results): Rows {
  return [
    ["", "wanted", "found", ""],
    ...targetsOf(results).map((target) => {
      const shown = (value: number) => `${value.toFixed(target.unit === "ms" ? 0 : 2)} ${target.unit}`;
      return [target.wanted, `≤ ${shown(target.limit)}`, shown(target.value), isMet(target) ? "met" : "missed"];
    }),
  ];
}

function headLine(results: Results): string {
  const { machine, date, rounds, workloads, link, contentBytes, storedBytes, tarBytes, convertSeconds } = results;
  const starts = workloads.flatMap((workload) => MODES.flatMap((mode) => workload.starts[mode]));
  const mb = (bytes: number) => (bytes / MB).toFixed(0);
  return (
    `${whenAndWhere(date, rounds, machine)}; guests emulated where there is no KVM. ` +
    `Line to the registry: ${(link.bytesPerSecond / MB).toFixed(1)} MB/s, ${link.roundTripMs} ms there and back. ` +
    `The image: ${mb(contentBytes)} MB of content, ${mb(storedBytes)} MB pushed, ${mb(tarBytes)} MB as tar.gz, fetched and converted ` +
    `in ${spread(convertSeconds).median.toFixed(1)} s. ${disturbedOf("guests", starts)}`
  );
}
