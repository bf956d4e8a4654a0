import { formatTable, markdownTable } from "./table.ts";

/** Rows of a table, the first its heads. */
export type Rows = readonly (readonly string[])[];

/** A part of a report: a table with a title. */
export interface Section {
  readonly title: string;
  readonly rows: Rows;
}

/** What a benchmark found, to be shown. */
export interface Report {
  /** When, where and how it was measured. */
  readonly headLine: string;
  readonly sections: readonly Section[];
  /** A picture of it. */
  readonly svg: string;
}

/** A report as text for a terminal. */
export function textReport({ headLine, sections }: Report): string {
  const parts = sections.map(({ title, rows }) => `${title}\n${formatTable(rows).replace(/^(?=.)/gm, "  ")}`);
  return [`${headLine}\n`, ...parts].join("\n");
}

/** The same as Markdown. */
export function markdownReport({ headLine, sections }: Report): string {
  return [`${headLine}\n`, ...sections.map(({ title, rows }) => `### ${title}\n\n${markdownTable(rows)}`)].join("\n");
}
