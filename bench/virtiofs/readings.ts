import { readFileSync } from "node:fs";
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
import { argsOf, LARGE_BYTES, LARGE_ROWS, ROWS, type Row, type RowId, scratchOf, TAR, VOLUME } from "./rows.ts";

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

/** Each guest's memory: enough to cache all that is read. */
export const MEMORY_BYTES = 1.5 * 2 ** 30;
export const CPUS = 2;
/** Longest life of a guest, waiting for a quiet machine included, in ms. */
const TIMEOUT_MS = 45 * 60_000;

/** A guest of a case that runs, with what is measured at VOLUME. */
export interface LiveGuest {
  readonly one: Case;
  readonly guest: ShellGuest;
  /** Absent for a file system of the guest's own. */
  readonly volume: Volume | undefined;
  /** Private memory of the processes that serve the volume, when it had been mounted. */
  readonly anonymousAtStart: number;
}

/** Boots a guest of each case. They all end after `use`. */
export async function withGuests<T>(
  cases: readonly Case[],
  inputs: Pick<Inputs, "image" | "folder">,
  work: string,
  env: NodeJS.ProcessEnv,
  use: (guests: LiveGuest[]) => Promise<T>,
): Promise<T> {
  const live: LiveGuest[] = [];
  const boot = async ([next, ...rest]: readonly Case[]): Promise<T> =>
    next === undefined
      ? use(live)
      : withGuest(next, inputs, work, env, async (guest) => {
          live.push(guest);
          return boot(rest);
        });
  return boot(cases);
}

/** Boots a guest with a case's volume, and has it mounted. Both end after `use`. */
export async function withGuest<T>(
  one: Case,
  { image, folder }: Pick<Inputs, "image" | "folder">,
  work: string,
  env: NodeJS.ProcessEnv,
  use: (guest: LiveGuest) => Promise<T>,
): Promise<T> {
  const volume = one.volume && (await startVolume(one.volume, { folder, work, name: one.id }));
  try {
    const guest = await ShellGuest.boot({
      ...image,
      memoryBytes: MEMORY_BYTES,
      cpus: CPUS,
      devices: volume?.devices ?? [],
      needs: [VIRTIO_FS],
      timeoutMs: TIMEOUT_MS,
      env,
    });
    try {
      if (volume !== undefined) await guest.shell(volume.mount(VOLUME));
      else await guest.shell(`mount -t tmpfs tmpfs ${VOLUME} && fsload fill ${VOLUME}/large ${LARGE_BYTES}`);
      await guest.shell(`cp /tree.tar ${TAR}`);
      return await use({ one, guest, volume, anonymousAtStart: volume === undefined ? 0 : anonymousOf(volume.pids()) });
    } finally {
      await guest.end();
    }
  } finally {
    await volume?.stop();
  }
}

/** Rows that are measured in a case's guest. */
export function rowsOf(one: Case): Row[] {
  return ROWS.filter(({ id }) => one.volume !== undefined || LARGE_ROWS.includes(id));
}

/** Measures a row in a guest. */
export async function readRow({ one, guest, volume }: LiveGuest, row: Row, quiet: QuietOptions): Promise<Reading> {
  if (row.makes !== undefined) await guest.shell(`rm -rf ${VOLUME}/${scratchOf(one.id)}/${row.makes}`);
  // Linux gives inodes that were used again a second chance, and with them their mappings.
  if (row.isAgain !== true) for (let times = 0; times < 3; times++) await guest.dropCaches();
  const before = await guest.memory();
  const found = await whenQuiet(quiet, () => readOnce(guest, volume?.pids() ?? [], argsOf(row, one.id)));
  const cacheGrowthBytes = growth(before, await guest.memory());
  return { row: row.id, ...found, cacheGrowthBytes, disturbed: isDisturbed(found.seconds, found) };
}

async function readOnce(guest: ShellGuest, pids: readonly number[], args: string) {
  const before = cpuOf(pids);
  const found = parseFsload(await guest.shell(`fsload ${args}`));
  const after = cpuOf(pids);
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
