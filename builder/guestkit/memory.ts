/** Where memory goes: in the guest, in processes of the host, in the host's page cache. */
import { readFileSync } from "node:fs";
import { run } from "../testkit/index.ts";

/** Of a guest's /proc/meminfo, in bytes. */
export interface GuestMemory {
  readonly total: number;
  readonly available: number;
  /** Page cache, tmpfs included. */
  readonly cached: number;
  /** Page cache of block devices: metadata of file systems. */
  readonly buffers: number;
  /** Inodes, directory entries and other objects of the kernel. */
  readonly slab: number;
}

const FIELDS = { total: "MemTotal", available: "MemAvailable", cached: "Cached", buffers: "Buffers", slab: "Slab" };

/** @param text /proc/meminfo */
export function parseMeminfo(text: string): GuestMemory {
  const value = (name: string) => {
    const [, kibibytes] = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text) ?? [];
    if (kibibytes === undefined) throw new Error(`no ${name} in /proc/meminfo`);
    return Number(kibibytes) * 1024;
  };
  return {
    total: value(FIELDS.total),
    available: value(FIELDS.available),
    cached: value(FIELDS.cached),
    buffers: value(FIELDS.buffers),
    slab: value(FIELDS.slab),
  };
}

/** What processes hold, each page divided by the number of processes that map it; in bytes. */
export interface ProcessMemory {
  /** Their own: heaps, tables, and the guest's memory (a memfd). */
  readonly own: number;
  /** Mapped files: pages of the host's page cache, which other guests on the same files share. */
  readonly mappedFiles: number;
}

/** Sums up processes. proc(5), smaps_rollup. */
export function processMemory(pids: readonly number[]): ProcessMemory {
  let [own, mappedFiles] = [0, 0];
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    const value = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0) * 1024;
    own += value("Pss_Anon") + value("Pss_Shmem");
    mappedFiles += value("Pss_File");
  }
  return { own, mappedFiles };
}

/** How much of these files and of all files in these folders is in the host's page cache, in bytes. */
export async function pageCacheOf(paths: readonly string[]): Promise<number> {
  const script = 'find "$@" -type f -print0 | xargs -0 --no-run-if-empty fincore --bytes --noheadings --output RES';
  const { stdout } = await run("sh", ["-c", script, "sh", ...paths]);
  return stdout.split("\n").reduce((sum, line) => sum + Number(line), 0);
}
