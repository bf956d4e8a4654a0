import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { flock } from "../../blobd/sys/index.ts";
import { readCpuTimes } from "./cpu.ts";

/** How long others are looked at, in ms. */
const WATCH_MS = 400;
/** Others may use this much of one processor when a measurement starts. */
const QUIET_SHARE = 0.08;
/** A measurement is disturbed when others used more than this much processor time, in seconds: a base and a share of it. */
const DISTURBED_SECONDS = 0.1;
const DISTURBED_SHARE = 0.04;
const CALIBRATION_BYTES = 64 << 20;

export interface QuietOptions {
  /** A file to hold an exclusive flock(2) on while something is measured, for machines where others measure too. */
  readonly lockFile?: string | undefined;
  /** How long to wait for others to be idle, in ms, before measuring all the same. */
  readonly patienceMs: number;
}

/** What happened on the machine while something ran. */
export interface Disturbance {
  /** Processor time that processes outside this benchmark took, in seconds. */
  readonly othersSeconds: number;
  /** Processor time that the host of this virtual machine took away, in seconds. */
  readonly stolenSeconds: number;
}

/** Runs `work` when the machine has nothing else to do, as far as one can wait for that. */
export async function whenQuiet<T>(options: QuietOptions, work: () => Promise<T>): Promise<T & Disturbance> {
  const lock = options.lockFile === undefined ? undefined : openSync(options.lockFile, "a");
  try {
    if (lock !== undefined) await flock(lock, "exclusive");
    for (const endMs = performance.now() + options.patienceMs; performance.now() < endMs; ) {
      const { othersSeconds } = await watch(() => sleep(WATCH_MS));
      if (othersSeconds < (QUIET_SHARE * WATCH_MS) / 1000) break;
    }
    return await watch(work);
  } finally {
    if (lock !== undefined) closeSync(lock);
  }
}

async function watch<T>(work: () => Promise<T>): Promise<T & Disturbance> {
  const before = readCpuTimes();
  const result = await work();
  const after = readCpuTimes();
  const used = (name: keyof typeof before) => after[name] - before[name];
  const othersSeconds = Math.max(0, used("all") - used("own") - used("kernel"));
  return { ...result, othersSeconds, stolenSeconds: used("stolen") };
}

/** Whether others took so much of the machine that the measurement says little. */
export function isDisturbed(seconds: number, { othersSeconds, stolenSeconds }: Disturbance): boolean {
  return othersSeconds + stolenSeconds > DISTURBED_SECONDS + DISTURBED_SHARE * seconds;
}

/** How long this machine takes for a fixed piece of work (sha256 of 64 MiB) just now, in ms. */
export function calibrate(): number {
  const bytes = Buffer.alloc(CALIBRATION_BYTES, 1);
  const startMs = performance.now();
  createHash("sha256").update(bytes).digest();
  return performance.now() - startMs;
}
