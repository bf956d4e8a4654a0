import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: what /proc counts processor time in. 100 on every Linux port. */
const TICKS_PER_SECOND = 100;
/** The kernel's thread that starts all its other threads. */
const KTHREADD = 2;

/** Processor time in seconds, up to now. */
export interface CpuTimes {
  /** Of all processes and kernel threads together, interrupts left out. */
  readonly all: number;
  /** Of this process and all below it, those that have ended included. */
  readonly own: number;
  /** Of the kernel's threads: writing back what was written to files, mostly. */
  readonly kernel: number;
  /** Taken from this virtual machine by its host. */
  readonly stolen: number;
}

/** proc(5), /proc/pid/stat. */
interface ProcessTimes {
  readonly parent: number;
  readonly ticks: number;
  /** Of children that it has waited for. */
  readonly childTicks: number;
}

/** Reads the processor times of the machine. */
export function readCpuTimes(): CpuTimes {
  const [user, nice, system, , , , , steal] = readFileSync("/proc/stat", "utf8")
    .split("\n", 1)[0]!
    .split(/ +/)
    .slice(1)
    .map(Number) as [number, number, number, number, number, number, number, number];
  const processes = readProcesses();
  let [own, kernel] = [0, 0];
  for (const [pid, { parent, ticks, childTicks }] of processes) {
    if (parent === KTHREADD || pid === KTHREADD) kernel += ticks;
    else if (isBelow(processes, pid, process.pid)) own += ticks + childTicks;
  }
  const seconds = (ticks: number) => ticks / TICKS_PER_SECOND;
  return { all: seconds(user + nice + system), own: seconds(own), kernel: seconds(kernel), stolen: seconds(steal) };
}

/** Processor time of a process and the children it has waited for, in seconds: how long in user mode, how long in the kernel. */
export function processCpu(pid: number): { user: number; system: number } {
  const fields = statFields(readFileSync(`/proc/${pid}/stat`, "utf8"));
  const sum = (a: number, b: number) => (Number(fields[a]) + Number(fields[b])) / TICKS_PER_SECOND;
  return { user: sum(11, 13), system: sum(12, 14) };
}

function readProcesses(): Map<number, ProcessTimes> {
  const processes = new Map<number, ProcessTimes>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let text: string;
    try {
      text = readFileSync(`/proc/${name}/stat`, "latin1");
    } catch {
      continue; // It has ended.
    }
    const [, parent, , , , , , , , , , user, system, childUser, childSystem] = statFields(text).map(Number);
    processes.set(Number(name), { parent: parent!, ticks: user! + system!, childTicks: childUser! + childSystem! });
  }
  return processes;
}

/** The fields from the third, `state`, on: the second, the name, may hold anything. */
function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function isBelow(processes: ReadonlyMap<number, ProcessTimes>, pid: number, root: number): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 0; at = processes.get(at)?.parent)
    if (at === root) return true;
  return false;
}
