import {
  type BarChart,
  disturbedOf,
  drawCharts,
  guestsOf,
  type Report,
  type Rows,
  type Section,
  whenAndWhere,
} from "../kit/index.ts";
import type { RequestCost } from "./requests.ts";
import { type CaseResult, caseOf, figure, type Results, serverMicroseconds, timesFaster } from "./results.ts";
import { ROWS, type RowId } from "./rows.ts";
import { isMet, targetsOf } from "./targets.ts";

const MIB = 1 << 20;

/** The results as tables and a picture. */
export function reportOf(results: Results): Report {
  return { headLine: headLine(results), sections: sectionsOf(results), svg: drawReport(results) };
}

/** What the picture shows: these rows say most. */
const DRAWN: readonly RowId[] = ["stat", "open", "list", "read", "mapread", "maprand", "untar"];

/** The results as a picture (SVG). */
function drawReport({ cases, requests = [] }: Results): string {
  const inGuest = ROWS.filter(({ id }) => DRAWN.includes(id)).map(
    ({ id, name, unit }): BarChart => ({
      title: unit === "µs" ? `${name}: µs an operation, shorter is better` : `${name}: MiB/s, longer is better`,
      unit,
      digits: unit === "µs" ? 1 : 0,
      bars: cases.flatMap((one) => {
        const found = figure(one, id);
        return found === undefined
          ? []
          : [{ label: one.name, kind: one.kind, value: found.median, min: found.min, max: found.max }];
      }),
    }),
  );
  const names = [...new Set(requests.map(({ request }) => request))];
  const ofRequests = names.map(
    (name): BarChart => ({
      title: `${name}: processor time of the server, without a guest`,
      unit: "µs",
      digits: 1,
      bars: requests
        .filter(({ request }) => request === name)
        .map(({ server, microseconds: { median, min, max } }) => ({
          label: server,
          kind: server === "blobd" ? "ours" : "peer",
          value: median,
          min,
          max,
        })),
    }),
  );
  const charts = [...inGuest.filter(({ bars }) => bars.length > 0), ...ofRequests];
  return drawCharts(charts, "A guest works on a volume: blobd and virtiofsd");
}

function sectionsOf(results: Results): Section[] {
  const { cases, requests, mappings, inodes } = results;
  return [
    ...(cases.length === 0
      ? []
      : [
          { title: "In the guest", rows: timeRows(cases) },
          { title: "Processor time of the server, µs an operation", rows: serverRows(served(cases)) },
          { title: "Memory, MiB", rows: memoryRows(served(cases)) },
        ]),
    ...(requests === undefined
      ? []
      : [{ title: "Processor time of the server a request, µs, without a guest", rows: requestRows(requests) }]),
    ...(mappings === undefined
      ? []
      : [
          {
            title: "A mapping of 2 MiB into the DAX window",
            rows: [
              ["mappings that are there", "ms"],
              ...mappings.map(({ live, milliseconds }) => [String(live), milliseconds.toFixed(2)]),
            ],
          },
        ]),
    ...(inodes === undefined
      ? []
      : [
          {
            title: "Memory of `blobd passthrough` for inodes that the kernel knows, MiB",
            rows: [
              ["inodes", "own, before", "own, after", "tables, before", "tables, after"],
              [
                String(inodes.inodes),
                ...[inodes.anonymousBefore, inodes.anonymousAfter, inodes.sharedBefore, inodes.sharedAfter].map(
                  (bytes) => (bytes / MIB).toFixed(1),
                ),
              ],
            ],
          },
        ]),
    ...(targetsOf(results).length === 0 ? [] : [{ title: "What was wanted of volumes", rows: targetRows(results) }]),
  ];
}

function served(cases: readonly CaseResult[]): CaseResult[] {
  return cases.filter(({ kind }) => kind !== "limit");
}

function timeRows(cases: readonly CaseResult[]): Rows {
  return [
    ["", "", ...cases.map(({ name }) => name)],
    ...ROWS.map(({ id, name, unit }) => [
      name,
      unit,
      ...cases.map((one) => {
        const found = figure(one, id);
        if (found === undefined) return "";
        const shown = found.median.toFixed(found.median < 100 ? 1 : 0);
        const theirs = one.against === undefined ? undefined : caseOf({ cases }, one.against);
        const times = theirs === undefined ? undefined : timesFaster(one, theirs, id);
        return times === undefined ? shown : `${shown} (${times.toFixed(2)}×)`;
      }),
    ]),
  ];
}

function serverRows(cases: readonly CaseResult[]): Rows {
  return [
    ["", ...cases.map(({ name }) => name)],
    ...ROWS.map(({ id, name }) => [name, ...cases.map((one) => serverMicroseconds(one, id)?.median.toFixed(1) ?? "")]),
  ];
}

function requestRows(requests: readonly RequestCost[]): Rows {
  const servers = [...new Set(requests.map(({ server }) => server))];
  return [
    ["", ...servers],
    ...[...new Set(requests.map(({ request }) => request))].map((name) => [
      name,
      ...servers.map((id) => {
        const cost = requests.find(({ server, request }) => server === id && request === name)?.microseconds;
        return cost === undefined ? "" : `${cost.median.toFixed(1)} (${cost.min.toFixed(1)} to ${cost.max.toFixed(1)})`;
      }),
    ]),
  ];
}

function memoryRows(cases: readonly CaseResult[]): Rows {
  const mib = (bytes: number) => (bytes / MIB).toFixed(1);
  const most = (one: CaseResult, of: (run: CaseResult["runs"][number]) => number) => mib(Math.max(...one.runs.map(of)));
  const cache = (row: RowId) => (run: CaseResult["runs"][number]) =>
    run.readings.find((reading) => reading.row === row)?.cacheGrowthBytes ?? 0;
  return [
    [
      "",
      "server's own, at the start",
      "at the end",
      "guest's page cache, by reading 512 MiB",
      "the same through a mapping",
      "by writing 256 MiB",
    ],
    ...cases.map((one) => [
      one.name,
      most(one, ({ anonymousAtStart }) => anonymousAtStart),
      most(one, ({ anonymous }) => anonymous),
      most(one, cache("read")),
      most(one, cache("mapread")),
      most(one, cache("write")),
    ]),
  ];
}

function targetRows(results: Results): Rows {
  return [
    ["", "wanted", "found", ""],
    ...targetsOf(results).map((target) => {
      const shown = (value: number) => `${value.toFixed(2)} ${target.unit}`;
      const sign = target.bound === "at most" ? "≤" : "≥";
      return [target.wanted, `${sign} ${shown(target.limit)}`, shown(target.value), isMet(target) ? "met" : "missed"];
    }),
  ];
}

function headLine(results: Results): string {
  const { machine, date, rounds, cases } = results;
  const readings = cases.flatMap(({ runs }) => runs.flatMap((run) => run.readings));
  const guests = cases.length === 0 ? "" : `${guestsOf(results)}. `;
  return `${whenAndWhere(date, rounds, machine)}. ${guests}${disturbedOf("readings", readings)}`;
}
