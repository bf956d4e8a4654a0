import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

/** This file is dist/builder/testkit/erofsify.js when it runs. */
const MAIN = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
/** How often the memory of a run is looked at, in ms: the kernel keeps the peak, so only what a run's end adds is missed. */
const SAMPLE_MS = 25;

export interface ErofsifyOptions {
  readonly cwd?: string;
  /** Added to an environment in which the user's own files, proxies and store are not seen. */
  readonly env?: Readonly<Record<string, string>>;
  /** A command in front, such as `setpriv`, with its arguments. */
  readonly prefix?: readonly string[];
  /** Options for node. */
  readonly nodeOptions?: readonly string[];
}

/** How a run ended. */
export interface ErofsifyResult {
  /** Exit status; null when a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
  /** Most memory of the process (VmHWM), in bytes. */
  readonly peakBytes: number;
}

/** A run of the command that goes on. */
export interface ErofsifyRun {
  readonly child: ChildProcess;
  readonly result: Promise<ErofsifyResult>;
}

/** Runs the `erofsify` command as a process of its own. A status other than 0 is a result like any other. */
export function erofsify(args: readonly string[], options: ErofsifyOptions = {}): Promise<ErofsifyResult> {
  return startErofsify(args, options).result;
}

/** Starts the `erofsify` command. */
export function startErofsify(args: readonly string[], options: ErofsifyOptions = {}): ErofsifyRun {
  const startMs = performance.now();
  const [command, ...rest] = [
    ...(options.prefix ?? []),
    process.execPath,
    ...(options.nodeOptions ?? []),
    MAIN,
    ...args,
  ];
  const child = spawn(command!, rest, {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, HOME: "/nonexistent", XDG_RUNTIME_DIR: "/nonexistent", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let peakBytes = 0;
  const sample = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakOf(child.pid));
  }, SAMPLE_MS);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => clearInterval(sample));
  const result = Promise.all([ended, text(child.stdout), text(child.stderr)]).then(([status, stdout, stderr]) => ({
    status,
    stdout,
    stderr,
    seconds: (performance.now() - startMs) / 1000,
    peakBytes,
  }));
  return { child, result };
}

function peakOf(pid: number | undefined): number {
  try {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0; // It has just ended.
  }
}
