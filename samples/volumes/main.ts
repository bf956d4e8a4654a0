/**
 * Runs workloads on volumes: `node dist/samples/volumes/main.js [--kind K…] [--only TEXT] [--large MiB]`. Needs root. Kinds:
 * see kinds.ts. What is found besides, such as memory, is told.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bootWithVolume, makeSetting, type Setting, VOLUME } from "./guests.ts";
import { KIND_NAMES, type KindName } from "./kinds.ts";
import { twoGuests } from "./two-guests.ts";
import { WORKLOADS } from "./workloads.ts";

const MIB = 1 << 20;
const HOUR_MS = 3_600_000;

const { values } = parseArgs({
  options: {
    kind: { type: "string", multiple: true, default: [...KIND_NAMES] },
    only: { type: "string", default: "" },
    large: { type: "string", default: "512" },
  },
});
const kinds = values.kind.map((text) => {
  const found = KIND_NAMES.find((name) => name === text);
  if (found === undefined) throw new Error(`no kind "${text}": ${KIND_NAMES.join(", ")}`);
  return found;
});
const work = mkdtempSync(join(tmpdir(), "erofsify-volumes-"));
try {
  const setting = await makeSetting(work);
  for (const kind of kinds) await runAll(setting, kind);
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function runAll(setting: Setting, kind: KindName): Promise<void> {
  const dax = kind === "dax-always";
  const { guest, server, folder, end } = await bootWithVolume(setting, kind, { folderName: kind, timeoutMs: HOUR_MS });
  const place = { guest, volume: VOLUME, folder, dax, largeBytes: Number(values.large) * MIB, ...setting };
  for (const workload of WORKLOADS.filter(({ name }) => name.includes(values.only)))
    await timed(kind, workload.name, (note) => workload.run({ ...place, note }));
  process.stderr.write(server.log());
  await end();
  if ("two guests".includes(values.only)) await timed(kind, "two guests", () => twoGuests(setting, kind, dax));
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
