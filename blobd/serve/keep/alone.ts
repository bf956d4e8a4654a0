import { closeSync, ftruncateSync, openSync, readFileSync, realpathSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { abortConnection, findFuseMount } from "../../fuse/device/index.ts";
import { SysError, tryFlock } from "../../sys/index.ts";
import { defaultMountPoint } from "./mount-point.ts";

/** What is noted in the lock's file. */
interface Note {
  /** Processes that have the mount. */
  readonly pids: readonly number[];
  readonly mountPoint: string;
}

/** How long what a dead one holds may take to be free, in ms. */
const FREE_MS = 5000;
const LOOK_MS = 20;

/**
 * Makes sure that nobody else serves a store, before anything is mounted there: of two that start at once, or while one is taken
 * over, the second would lay its mount over the first one's.
 * @returns a descriptor; closed here and in processes that were given it, the store is free again
 * @throws SysError EBUSY when another one serves it
 */
export async function holdAlone(storeRoot: string, mountPoint: string): Promise<number> {
  const path = join(storeRoot, "serve.lock");
  const fd = openSync(path, "a+", 0o600);
  try {
    if (!tryFlock(fd, "exclusive") && !(await freeOfDead(path, fd, storeRoot)))
      throw new SysError("flock", "EBUSY", 16, path, "another blobd serves there");
    abortMount(mountPoint, storeRoot);
    noteProcesses(fd, mountPoint, process.pid);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Notes who has the mount. */
export function noteProcesses(lockFd: number, mountPoint: string, ...pids: number[]): void {
  ftruncateSync(lockFd, 0);
  writeSync(lockFd, JSON.stringify({ pids, mountPoint } satisfies Note));
}

/**
 * Ends what is left of the mount of a service that is dead. A thread that has put pages into the page cache when its process was
 * killed may wait there for a page whose READ nobody answers any more: with it live the mount, and all who wait for it, as
 * whoever looked at the mount would. Its lock may be free by then.
 */
function abortMount(mountPoint: string, storeRoot: string): void {
  const found = mountAt(mountPoint);
  if (found === null) return;
  if (found.source === storeRoot || mountPoint === defaultMountPoint(storeRoot)) abortConnection(found.connection);
}

/** The mount there; only the folder above is looked at. */
function mountAt(mountPoint: string) {
  try {
    return findFuseMount(join(realpathSync(dirname(mountPoint)), basename(mountPoint)));
  } catch {
    return null; // There is no such folder.
  }
}

/** @returns whether the lock is ours: it was of processes that are dead, and that have not quite ended */
async function freeOfDead(path: string, fd: number, storeRoot: string): Promise<boolean> {
  const note = noteIn(path);
  if (note === undefined || !note.pids.some(isDead) || note.pids.some(isAlive)) return false;
  abortMount(note.mountPoint, storeRoot);
  for (const end = performance.now() + FREE_MS; performance.now() < end; await sleep(LOOK_MS))
    if (tryFlock(fd, "exclusive")) return true;
  return false;
}

function noteIn(path: string): Note | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Note;
  } catch {
    return undefined; // It is being written: by somebody who lives.
  }
}

/** The state of a process that is known here, as proc_pid_stat(5) has it. */
function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  } catch {
    return undefined;
  }
}

/**
 * Whether a process has been killed. A thread of it may still be in the kernel, storing a page that somebody's READ has locked
 * who waits for the successor: until then nobody is told of its end.
 */
export function isDead(pid: number): boolean {
  return stateOf(pid) === "Z";
}

function isAlive(pid: number): boolean {
  const state = stateOf(pid);
  return state !== undefined && state !== "Z" && state !== "X";
}
