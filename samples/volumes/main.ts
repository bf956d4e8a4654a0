/**
 * Runs workloads on volumes: `npm run volumes -- [--kind K…] [--only TEXT] [--large MiB] [--short]`. Needs root. Kinds:
 * see kinds.ts. What is found besides, such as memory, is told.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bootWithVolume, makeSetting, type Setting } from "./guests.ts";
import { KIND_NAMES, type KindName } from "./kinds.ts";
import { FULL, SHORT, type Sizes } from "./sizes.ts";
import { twoGuests } from "./two-guests.ts";
import { WORKLOADS } from "./workloads.ts";

const MIB = 1 << 20;
const HOUR_MS = 3_600_000;

const { values } = parseArgs({
  options: {
    kind: { type: "string", multiple: true, default: [...KIND_NAMES] },
    only: { type: "string", default: "" },
    large: { type: "string" },
    short: { type: "boolean", default: false },
  },
});
const kinds = values.kind.map((text) => {
  const found = KIND_NAMES.find((name) => name === text);
  if (found === undefined) throw new Error(`no kind "${text}": ${KIND_NAMES.join(", ")}`);
  return found;
});
const size = values.short ? SHORT : FULL;
const sizes: Sizes = { ...size, largeBytes: values.large === undefined ? size.largeBytes : Number(values.large) * MIB };
const work = mkdtempSync(join(tmpdir(), "erofsify-volumes-"));
try {
  const setting = await makeSetting(work);
  for (const kind of kinds) await runAll(setting, kind);
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function runAll(setting: Setting, kind: KindName): Promise<void> {
  const workloads = WORKLOADS.filter(({ name }) => name.includes(values.only));
  if (workloads.length > 0) {
    const place = await bootWithVolume(setting, kind, { folderName: kind, timeoutMs: HOUR_MS });
    for (const workload of workloads)
      await timed(kind, workload.name, (note) => workload.run({ ...place, sizes, note }));
    process.stderr.write(place.server.log());
    await place.end();
  }
  if ("two guests".includes(values.only)) await timed(kind, "two guests", (note) => twoGuests(setting, kind, note));
}

async function timed(kind: string, name: string, work: (note: (text: string) => void) => Promise<void>): Promise<void> {
  const startMs = performance.now();
  const notes: string[] = [];
  let result = "ok";
  try {
    await work((text) => notes.push(text));
  } catch (error) {
    process.exitCode = 1;
    result = `FAILED: ${(error as Error).message}`;
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  process.stdout.write(`${kind}: ${name}: ${seconds} s: ${[result, ...notes].join("; ")}\n`);
}
