import {
  type BarChart,
  disturbedOf,
  drawCharts,
  guestsOf,
  type Report,
  type Rows,
  type Section,
  spread,
  whenAndWhere,
} from "../kit/index.ts";
import { READERS } from "./readings.ts";
import { type CaseResult, cacheGrowth, over, type Results, seconds } from "./results.ts";
import { isMet, READER_NAMES, targetsOf } from "./targets.ts";

const MIB = 1 << 20;

/** The results as tables and a picture. */
export function reportOf(results: Results): Report {
  return { headLine: headLine(results), sections: sectionsOf(results), svg: drawReport(results) };
}

/** The results as a picture (SVG). */
function drawReport({ cases }: Results): string {
  const chart = (
    title: string,
    unit: string,
    digits: number,
    of: (one: CaseResult) => { median: number; min: number; max: number },
  ): BarChart => ({
    title,
    unit,
    digits,
    bars: cases.map((one) => {
      const { median, min, max } = of(one);
      return { label: one.name, kind: one.kind, value: median, min, max };
    }),
  });
  const times = READERS.map((reader) =>
    chart(`Time in the guest: ${READER_NAMES[reader]}`, "s", 1, (one) =>
      over(one, reader, (reading) => reading.seconds),
    ),
  );
  const memory = chart("Memory that a guest has to itself when all is read, on the host", "MiB", 0, (one) =>
    over(one, "tar", ({ processes }) => processes.own / MIB),
  );
  return drawCharts([...times, memory], "A guest reads the Linux source tree; shorter bars are better");
}

function sectionsOf(results: Results): Section[] {
  const { cases, starts } = results;
  return [
    ...(cases.length > 0
      ? [
          { title: "Time to read the tree", rows: timeRows(cases) },
          { title: "Memory when the tree has been read by tar, MiB", rows: memoryRows(cases) },
        ]
      : []),
    ...(starts.length > 0 ? [{ title: "From `erofsify run` to the first output, ms", rows: startRows(results) }] : []),
    { title: "What was wanted of guests", rows: targetRows(results) },
  ];
}

function timeRows(cases: readonly CaseResult[]): Rows {
  const first = cases[0]!;
  return [
    ["seconds", ...READERS.flatMap((reader) => [READER_NAMES[reader], `to ${first.name}`])],
    ...cases.map((one) => [
      one.name,
      ...READERS.flatMap((reader) => [
        seconds(one, reader).toFixed(1),
        `${(seconds(one, reader) / seconds(first, reader)).toFixed(2)}×`,
      ]),
    ]),
  ];
}

function memoryRows(cases: readonly CaseResult[]): Rows {
  const mib = (bytes: number) => (bytes / MIB).toFixed(0);
  return [
    [
      "",
      "guest: page cache, grown by",
      "guest: available, less by",
      "host: of this guest alone",
      "host: page cache with the data",
    ],
    ...cases.map((one) => [
      one.name,
      mib(cacheGrowth(one, "tar")),
      mib(over(one, "tar", ({ guest }, { guestEmpty }) => guestEmpty.available - guest.available).median),
      mib(over(one, "tar", ({ processes }) => processes.own).median),
      mib(over(one, "tar", ({ pageCache }) => pageCache).median),
    ]),
  ];
}

const PARTS = [
  ["erofsify", "erofsifyMs"],
  ["QEMU and firmware", "vmmMs"],
  ["kernel", "kernelMs"],
  ["mounts", "mountsMs"],
  ["command", "commandMs"],
  ["all", "totalMs"],
] as const;

function startRows({ starts }: Results): Rows {
  return [
    ["", "median", "least", "most"],
    ...PARTS.map(([name, part]) => {
      const { median, min, max } = spread(starts.map((start) => start[part]));
      return [name, ...[median, min, max].map((ms) => ms.toFixed(0))];
    }),
  ];
}

function targetRows(results: Results): Rows {
  return [
    ["", "wanted", "found", ""],
    ...targetsOf(results).map((target) => {
      const shown = (value: number) => `${value.toFixed(target.unit === "ms" ? 0 : 2)} ${target.unit}`;
      const sign = target.bound === "at most" ? "≤" : "≥";
      return [target.wanted, `${sign} ${shown(target.limit)}`, shown(target.value), isMet(target) ? "met" : "missed"];
    }),
  ];
}

function headLine(results: Results): string {
  const { machine, date, rounds, cases } = results;
  const readings = cases.flatMap(({ runs }) => runs.flatMap((run) => run.readings));
  const lean = readings.find(({ files }) => files !== undefined);
  return (
    `${whenAndWhere(date, rounds, machine)}. ${guestsOf(results)}. ` +
    `${lean === undefined ? "" : `Every case read the same ${lean.files} files, ${lean.bytes} bytes. `}` +
    disturbedOf("readings", readings)
  );
}
