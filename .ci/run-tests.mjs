// Runs the compiled tests in one run of node:test, so that one summary closes the output: first the fast ones, then
// the property tests, then those that need root and the machine's kernel and tools. The command line of Node.js 20
// would sort the files by name. Arguments select tests by a part of their path.
import { existsSync, readdirSync } from "node:fs";
import { relative } from "node:path";
import { finished } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";

const FOLDERS = ["formats", "builder", "blobd", "samples", "bench"];
const CONCURRENCY = 2;
/** What one test file may take, in ms. */
const FILE_TIMEOUT_MS = 300_000;

const rank = (file) => (file.endsWith(".system.test.ts") ? 2 : file.endsWith(".fuzz.test.ts") ? 1 : 0);

/** Tests by their sources: a test file left over in dist does not run, one that was not compiled is an error. */
function testSources() {
  const filters = process.argv.slice(2);
  return FOLDERS.flatMap((folder) => readdirSync(folder, { recursive: true }).map((path) => `${folder}/${path}`))
    .filter((path) => path.endsWith(".test.ts"))
    .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

const files = testSources().map((path) => `dist/${path.replace(/\.ts$/, ".js")}`);
const absent = files.filter((file) => !existsSync(file));
if (files.length === 0 || absent.length > 0) {
  console.error(files.length === 0 ? "no test matches" : `not compiled: ${absent.join(", ")}`);
  process.exit(1);
}

// What tests start as a program is the bundle, which has to be of the code that was compiled last.
await import("../bundle.mjs");

const skipped = [];
const events = run({ files, concurrency: CONCURRENCY, timeout: FILE_TIMEOUT_MS })
  .on("test:fail", () => {
    process.exitCode = 1;
  })
  .on("test:pass", ({ name, skip, file }) => {
    if (skip !== undefined) skipped.push(`${relative(".", file ?? "")}: ${name}: ${skip === true ? "no reason given" : skip}`);
  });
events.once("end", () => {
  if (skipped.length > 0) console.log(`\nSkipped tests and why:\n${skipped.map((line) => `  ${line}`).join("\n")}`);
});
const report = events.compose(new spec());
report.pipe(process.stdout);
await finished(report);
