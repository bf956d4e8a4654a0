import {
  type GuestMemory,
  type ProcessMemory,
  pageCacheOf,
  processMemory,
  ShellGuest,
} from "../../builder/guestkit/index.ts";
import { run } from "../../builder/testkit/index.ts";
import { type Disturbance, isDisturbed, type QuietOptions, whenQuiet } from "../kit/index.ts";
import type { Case } from "./case.ts";
import { GNU_TAR, type Inputs, READER, TREE } from "./inputs.ts";

/**
 * How the tree is read: by the lean reader, from empty caches of the guest and then once more; by tar, from empty caches.
 */
export const READERS = ["lean", "again", "tar"] as const;
export type Reader = (typeof READERS)[number];

/** The tree read once. */
export interface Reading extends Disturbance {
  readonly reader: Reader;
  readonly seconds: number;
  /** Regular files opened; the lean reader counts them. */
  readonly files?: number;
  /** Of the files' contents, or of the archive that tar wrote. */
  readonly bytes: number;
  /** Whether others took much of the machine meanwhile. */
  readonly disturbed: boolean;
  /** When it was over. */
  readonly guest: GuestMemory;
  readonly processes: ProcessMemory;
  /** Of the host's page cache, in bytes: the data as the case has it on the host, before and after. */
  readonly pageCacheBefore: number;
  readonly pageCache: number;
}

/** What one guest of a case found. */
export interface GuestRun {
  /** From 1. */
  readonly round: number;
  readonly accelerator: string;
  /** When the tree was visible and nothing read yet. */
  readonly guestAtStart: GuestMemory;
  /** Before the tree was made visible: with tmpfs, before it was filled. */
  readonly guestEmpty: GuestMemory;
  readonly processesEmpty: ProcessMemory;
  readonly readings: readonly Reading[];
}

export interface ReadingOptions {
  /** Default: all. */
  readonly readers?: readonly Reader[];
  readonly quiet: QuietOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly onReading: (one: Case, reading: Reading, round: number) => void;
}

/** The guests' memory: enough for the tree in tmpfs. The same for all, as are the processors. */
export const MEMORY_BYTES = 3 * 2 ** 30;
export const CPUS = 2;
/** Longest life of a guest, waiting for a quiet machine included, in ms. */
const TIMEOUT_MS = 40 * 60_000;

/** Boots guests of all cases in turn, round after round. @returns each case's runs */
export async function readInGuests<C extends Case>(
  cases: readonly C[],
  inputs: Inputs,
  rounds: number,
  options: ReadingOptions,
): Promise<{ one: C; runs: GuestRun[] }[]> {
  const found = cases.map((one) => ({ one, runs: [] as GuestRun[] }));
  for (let round = 1; round <= rounds; round++)
    for (const { one, runs } of found) runs.push(await readInGuest(one, inputs, round, options));
  return found;
}

/** Boots a guest of a case and has it read the tree in all ways. */
async function readInGuest(one: Case, inputs: Inputs, round: number, options: ReadingOptions): Promise<GuestRun> {
  const server = await one.serve?.();
  try {
    const guest = await ShellGuest.boot({
      storeRoot: inputs.storeRoot,
      image: one.image,
      memoryBytes: MEMORY_BYTES,
      cpus: CPUS,
      devices: one.devices,
      needs: one.needs,
      timeoutMs: TIMEOUT_MS,
      env: options.env,
    });
    try {
      const pids = [guest.pid, ...(server === undefined ? [] : [server.child.pid!])];
      const guestEmpty = await guest.memory();
      const processesEmpty = processMemory(pids);
      for (const line of one.prepare) await guest.shell(line);
      const guestAtStart = await guest.memory();
      const readings: Reading[] = [];
      for (const reader of options.readers ?? READERS) {
        if (reader !== "again") await guest.dropCaches();
        const found = await whenQuiet(options.quiet, async () => {
          const pageCacheBefore = await fillPageCache(one, inputs);
          return { ...(await read(guest, one, reader)), pageCacheBefore };
        });
        const after = {
          guest: await guest.memory(),
          processes: processMemory(pids),
          pageCache: await pageCacheOf(one.hostPaths),
        };
        const reading = { reader, ...found, ...after, disturbed: isDisturbed(found.seconds, found) };
        readings.push(reading);
        options.onReading(one, reading, round);
      }
      return { round, accelerator: guest.accelerator, guestEmpty, processesEmpty, guestAtStart, readings };
    } finally {
      await guest.end();
    }
  } finally {
    await server?.stop();
  }
}

/** The host's disk has no part in what is measured: all data is in its page cache, for every case. */
async function fillPageCache({ hostPaths }: Case, { readerPath }: Inputs): Promise<number> {
  for (const path of hostPaths)
    await run("sh", ["-c", 'if [ -d "$1" ]; then "$2" "$1"; else cat "$1"; fi >/dev/null', "sh", path, readerPath]);
  return pageCacheOf(hostPaths);
}

async function read(
  guest: ShellGuest,
  { folder, part = "" }: Case,
  reader: Reader,
): Promise<Pick<Reading, "seconds" | "files" | "bytes">> {
  if (reader === "tar") {
    const startMs = performance.now();
    const bytes = Number(await guest.shell(`${GNU_TAR} -C ${folder} -cf - ${TREE} | wc -c`));
    return { seconds: (performance.now() - startMs) / 1000, bytes };
  }
  const output = await guest.shell(`${READER} ${folder}/${TREE}/${part}`);
  const [files, bytes, nanoseconds] = output.split(" ").map(Number) as [number, number, number];
  return { seconds: nanoseconds / 1e9, files, bytes };
}
