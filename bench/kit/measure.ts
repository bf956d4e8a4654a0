import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { CommandError } from "../../builder/testkit/index.ts";

/** A command to measure. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What a command cost, the processes it started included. */
export interface Cost {
  /** From its start to its end, in seconds. */
  readonly wallSeconds: number;
  readonly userSeconds: number;
  readonly systemSeconds: number;
  /** Peak resident memory of the largest of its processes, in bytes. */
  readonly peakBytes: number;
}

/** A run of a command: its cost, and what it wrote to stdout. */
export interface Run extends Cost {
  readonly stdout: string;
}

/**
 * Runs a command to its end under GNU time.
 * @param scratch a directory for a small file
 * @throws CommandError unless it ends with status 0
 */
export async function measure(target: Command, scratch: string): Promise<Run> {
  const report = join(scratch, "cost.txt");
  const args = ["--format", "%U %S %M", "--output", report, "--", target.command, ...target.args];
  const startMs = performance.now();
  const child = spawn("/usr/bin/time", args, {
    cwd: target.cwd,
    env: { ...process.env, ...target.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<[number | null, number]>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status) => resolve([status, performance.now()]));
  });
  const [stdout, stderr, [status, endMs]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status !== 0) throw new CommandError([target.command, ...target.args].join(" "), status, stdout, stderr);
  const [user, system, kibibytes] = readFileSync(report, "utf8").trim().split(" ").map(Number);
  await rm(report);
  const wallSeconds = (endMs - startMs) / 1000;
  return { wallSeconds, userSeconds: user!, systemSeconds: system!, peakBytes: kibibytes! * 1024, stdout };
}
