import { drawCharts, markdownSections, type Rows, type Section, textSections } from "../kit/index.ts";
import { type CaseResult, cacheGrowth, filesOf, type Results, secondsOf } from "./results.ts";

const MIB = 1 << 20;

/** The results as text for a terminal. */
export function textReport(results: Results): string {
  return textSections(headLine(results), sectionsOf(results));
}

/** The same as Markdown. */
export function markdownReport(results: Results): string {
  return markdownSections(headLine(results), sectionsOf(results));
}

/** The results as a picture (SVG). */
export function drawReport({ cases }: Results): string {
  const whole = cases.filter(({ part }) => part === undefined);
  const bars = whole.map((one) => {
    const { median, min, max } = secondsOf(one);
    const kind = one.id === "pmem" ? ("limit" as const) : ("ours" as const);
    return { label: one.name, kind, value: median, min, max };
  });
  const chart = { title: "Time in the guest, empty caches", unit: "s", digits: 1, bars };
  return drawCharts([chart], "A guest reads the Linux source tree in our three ways; shorter bars are better");
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
        (cacheGrowth(one) / MIB).toFixed(0),
      ];
    }),
  ];
}

function headLine({ machine, date, rounds, cases, guestMemoryBytes, guestCpus }: Results): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const readings = cases.flatMap(({ runs }) => runs.flatMap((run) => run.readings));
  const accelerators = [...new Set(cases.flatMap(({ runs }) => runs.map(({ accelerator }) => accelerator)))];
  const guests = [`${guestCpus} processors`, ...accelerators, `${guestMemoryBytes / 2 ** 30} GiB`].join(", ");
  const files = [...new Set(cases.map(filesOf))].join(" and ");
  return (
    `${date.slice(0, 10)}, ${rounds} ${rounds === 1 ? "round" : "rounds"}; ${machine.cores} cores of ${machine.processor} ` +
    `(${machine.arch}), Linux ${machine.kernel}, ${machine.system}; ${versions.join(", ")}. Guests: ${guests}. ` +
    `Files read: ${files}. ` +
    `Of ${readings.length} readings ${readings.filter(({ disturbed }) => disturbed).length} were disturbed by other processes`
  );
}
