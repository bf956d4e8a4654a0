import { formatTable, markdownTable } from "./table.ts";

/** Rows of a table, the first its heads. */
export type Rows = readonly (readonly string[])[];

/** A part of a report: a table with a title. */
export interface Section {
  readonly title: string;
  readonly rows: Rows;
}

/** A report as text for a terminal. */
export function textSections(headLine: string, sections: readonly Section[]): string {
  const parts = sections.map(({ title, rows }) => `${title}\n${formatTable(rows).replace(/^(?=.)/gm, "  ")}`);
  return [`${headLine}\n`, ...parts].join("\n");
}

/** The same as Markdown. */
export function markdownSections(headLine: string, sections: readonly Section[]): string {
  return [`${headLine}\n`, ...sections.map(({ title, rows }) => `### ${title}\n\n${markdownTable(rows)}`)].join("\n");
}
