/** The service as a process. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./until.ts";

/** This file is dist/builder/job/testkit/service.js when it runs. */
const MAIN = fileURLToPath(new URL("../../../bin/erofsify.js", import.meta.url));
export const AUTHORIZATION = "Bearer s3cret";
const READY_TIMEOUT_MS = 60_000;

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A process of `erofsify job …`, its log read as it comes. */
export interface JobProcess {
  readonly child: ChildProcess;
  readonly log: () => string;
  /** Ends it by SIGTERM, waits. */
  stop(): Promise<void>;
  /** Ends it by SIGKILL, waits. */
  kill(): Promise<void>;
}

/** Starts `erofsify job serve` or `work` and waits until it is ready. */
export async function startJob(args: readonly string[], env: Record<string, string> = {}): Promise<JobProcess> {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", process.execPath, MAIN, "job", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH, HOME: "/nonexistent", ...env },
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      log += text;
    });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  await until(
    "the service is ready",
    () => {
      assert.equal(child.exitCode, null, log);
      return log.includes('"msg":"ready"');
    },
    READY_TIMEOUT_MS,
  );
  return { child, log: () => log, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}

/** A file with the header that the service accepts. */
export function authorizationFile(directory: string): string {
  const path = join(directory, "authorization");
  writeFileSync(path, `# for tests\n${AUTHORIZATION}\nBasic dXNlcjpwYXNz\n`);
  return path;
}

/** Processes of conversions that a service has started. */
export function conversionsOf({ child }: JobProcess): number[] {
  const pids = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
  return pids
    .filter((pid) => pid !== "")
    .map(Number)
    .filter(isConversion);
}

/** Whether it is such a process, and has not ended. */
export function isConversion(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("convert-one");
  } catch {
    return false; // It has ended.
  }
}
