import { cacheGrowth, over } from "../guest/index.ts";
import {
  disturbedOf,
  drawCharts,
  guestsOf,
  type Report,
  type Rows,
  type Section,
  type Spread,
  whenAndWhere,
} from "../kit/index.ts";
import { type CaseResult, filesOf, READER, type Results } from "./results.ts";

const MIB = 1 << 20;

/** The results as tables and a picture. */
export function reportOf(results: Results): Report {
  return { headLine: headLine(results), sections: sectionsOf(results), svg: drawReport(results) };
}

/** The results as a picture (SVG). */
function drawReport({ cases }: Results): string {
  const whole = cases.filter(({ part }) => part === undefined);
  const bars = whole.map((one) => {
    const { median, min, max } = secondsOf(one);
    const kind = one.id === "pmem" ? ("limit" as const) : ("ours" as const);
    return { label: one.name, kind, value: median, min, max };
  });
  const chart = { title: "Time in the guest, empty caches", unit: "s", digits: 1, bars };
  return drawCharts([chart], "A guest reads the Linux source tree in our three ways; shorter bars are better");
}

function secondsOf(one: CaseResult): Spread {
  return over(one, READER, ({ seconds }) => seconds);
}

function sectionsOf({ cases }: Results): Section[] {
  const of = (isPart: boolean) => cases.filter(({ part }) => (part !== undefined) === isPart);
  return [
    { title: "The whole tree", rows: rows(of(false)) },
    { title: "A part of it, with a mapping for every file", rows: rows(of(true)) },
  ].filter((section) => section.rows.length > 1);
}

function rows(cases: readonly CaseResult[]): Rows {
  const [first] = cases;
  if (first === undefined) return [];
  return [
    ["", "s", "µs a file", `to ${first.name}`, "page cache, MiB"],
    ...cases.map((one) => {
      const { median } = secondsOf(one);
      return [
        one.name,
        median.toFixed(1),
        ((median / filesOf(one)) * 1e6).toFixed(0),
        `${(median / secondsOf(first).median).toFixed(2)}×`,
        (cacheGrowth(one, READER) / MIB).toFixed(0),
      ];
    }),
  ];
}

function headLine(results: Results): string {
  const { machine, date, rounds, cases } = results;
  const readings = cases.flatMap(({ runs }) => runs.flatMap((run) => run.readings));
  const files = [...new Set(cases.map(filesOf))].join(" and ");
  return `${whenAndWhere(date, rounds, machine)}. ${guestsOf(results)}. Files read: ${files}. ${disturbedOf("readings", readings)}`;
}
