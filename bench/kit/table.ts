/** Lays rows out in columns: the first to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  const line = (row: readonly string[]) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[at]!))).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}

/** The same as Markdown. */
export function markdownTable([head, ...rows]: readonly (readonly string[])[]): string {
  const line = (row: readonly string[]) => `| ${row.join(" | ")} |\n`;
  return [line(head!), line(head!.map((_, at) => (at === 0 ? "---" : "---:"))), ...rows.map(line)].join("");
}
