import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type FsloadResult,
  type GuestMemory,
  parseFsload,
  ShellGuest,
  startVolume,
  VIRTIO_FS,
  type Volume,
} from "../../builder/guestkit/index.ts";
import { type Disturbance, isDisturbed, processCpu, type QuietOptions, whenQuiet } from "../kit/index.ts";
import type { Case } from "./case.ts";
import type { Inputs } from "./inputs.ts";
import { ROWS, type RowId, TAR, VOLUME } from "./rows.ts";

/** A row measured once. */
export interface Reading extends Disturbance, FsloadResult {
  readonly row: RowId;
  /** Processor time of the processes that serve the volume, in seconds. */
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly disturbed: boolean;
  /** By how much the guest's page cache has grown. */
  readonly cacheGrowthBytes: number;
}

/** What one guest of a case found. */
export interface GuestRun {
  /** From 1. */
  readonly round: number;
  readonly accelerator: string;
  readonly readings: readonly Reading[];
  /** Private memory of the processes that serve the volume: when it was mounted, and at the end. */
  readonly anonymousAtStart: number;
  readonly anonymous: number;
}

export interface ReadingOptions {
  readonly quiet: QuietOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly onReading: (one: Case, reading: Reading) => void;
}

/** The guests' memory: enough to cache all that is read. The same for all, as are the processors. */
export const MEMORY_BYTES = 2 * 2 ** 30;
export const CPUS = 2;
/** Longest life of a guest, waiting for a quiet machine included, in ms. */
const TIMEOUT_MS = 20 * 60_000;

/** Boots a guest with a case's volume, and has it mounted. Both end after `work`. */
export async function withGuest<T>(
  one: Case,
  { image, folder }: Pick<Inputs, "image" | "folder">,
  work: string,
  env: NodeJS.ProcessEnv,
  use: (guest: ShellGuest, volume: Volume) => Promise<T>,
): Promise<T> {
  const volume = await startVolume(one, { folder, work, name: "volume" });
  try {
    const guest = await ShellGuest.boot({
      ...image,
      memoryBytes: MEMORY_BYTES,
      cpus: CPUS,
      devices: volume.devices,
      needs: [VIRTIO_FS],
      timeoutMs: TIMEOUT_MS,
      env,
    });
    try {
      await guest.shell(volume.mount(VOLUME));
      return await use(guest, volume);
    } finally {
      await guest.end();
    }
  } finally {
    await volume.stop();
  }
}

/** Boots a guest of a case and measures the rows in it. */
export async function readInGuest(
  one: Case,
  inputs: Inputs,
  work: string,
  round: number,
  options: ReadingOptions,
): Promise<GuestRun> {
  const scratch = join(inputs.folder, "scratch");
  for (const name of ["fill", "map", "tree"]) await rm(join(scratch, name), { recursive: true, force: true });
  return withGuest(one, inputs, work, options.env, async (guest, volume) => {
    await guest.shell(`cp /tree.tar ${TAR}`);
    const anonymousAtStart = anonymousOf(volume.pids());
    const readings: Reading[] = [];
    for (const { id, args } of ROWS) {
      await guest.dropCaches();
      const before = await guest.memory();
      const found = await whenQuiet(options.quiet, () => readOnce(guest, volume, args));
      const cacheGrowthBytes = growth(before, await guest.memory());
      const reading = { row: id, ...found, cacheGrowthBytes, disturbed: isDisturbed(found.seconds, found) };
      readings.push(reading);
      options.onReading(one, reading);
    }
    const { accelerator } = guest;
    return { round, accelerator, readings, anonymousAtStart, anonymous: anonymousOf(volume.pids()) };
  });
}

async function readOnce(guest: ShellGuest, volume: Volume, args: string) {
  const before = cpuOf(volume.pids());
  const found = parseFsload(await guest.shell(`fsload ${args}`));
  const after = cpuOf(volume.pids());
  return { ...found, userSeconds: after.user - before.user, systemSeconds: after.system - before.system };
}

function growth(before: GuestMemory, after: GuestMemory): number {
  return after.cached + after.buffers - before.cached - before.buffers;
}

function cpuOf(pids: readonly number[]): { user: number; system: number } {
  let [user, system] = [0, 0];
  for (const pid of pids) {
    const cpu = processCpu(pid);
    user += cpu.user;
    system += cpu.system;
  }
  return { user, system };
}

/** Private anonymous memory of processes, in bytes: the guest's memory, which they map, is not theirs. proc(5), status. */
export function anonymousOf(pids: readonly number[]): number {
  const of = (pid: number) => /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0;
  return pids.reduce((sum, pid) => sum + Number(of(pid)) * 1024, 0);
}
