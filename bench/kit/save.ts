import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { say } from "./say.ts";
import { markdownReport, type Report, textReport } from "./sections.ts";

// This file is dist/bench/kit/save.js when it runs.
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** What a benchmark found, in three forms. */
interface Saved {
  readonly results: unknown;
  readonly svg: string;
  readonly markdown: string;
}

/** Prints a report and, if wanted, saves it. */
export function publish(name: string, results: unknown, report: Report, isSaved: boolean): void {
  process.stdout.write(textReport(report));
  if (!isSaved) return;
  saveReport(name, { results, svg: report.svg, markdown: markdownReport(report) });
  say("saved to bench/results and docs/benchmarks.md");
}

/** Replaces a benchmark's results in bench/results and, between the two marks of its name, in docs/benchmarks.md. */
export function saveReport(name: string, { results, svg, markdown }: Saved): void {
  const directory = join(ROOT, "bench/results");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(join(directory, `${name}.svg`), svg);
  const document = join(ROOT, "docs/benchmarks.md");
  const text = readFileSync(document, "utf8");
  const [beginMark, endMark] = [`<!-- ${name}: written by the benchmark -->`, `<!-- ${name}: end -->`];
  const [begin, end] = [text.indexOf(beginMark), text.indexOf(endMark)];
  if (begin < 0 || end < begin) throw new Error(`${document} has no place for results: ${beginMark} … ${endMark}`);
  writeFileSync(document, `${text.slice(0, begin)}${beginMark}\n${markdown}${text.slice(end)}`);
}
