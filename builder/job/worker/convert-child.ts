/** Starts a process that converts one image, and ends it when it must end. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type ConversionMessage, type ConversionRequest, MAX_LINE_BYTES, parseMessage } from "../child-messages.ts";
import type { Phase, Result } from "../queue/index.ts";

/** This file is dist/builder/job/worker/convert-child.js when it runs. */
const MAIN = fileURLToPath(new URL("../../../bin/erofsify.js", import.meta.url));
/** What main.ts's first line gives a conversion started by hand. */
const THREAD_POOL_SIZE = "16";
const NODE_OPTIONS = ["--min-semi-space-size=16", "--max-semi-space-size=32"];
/** When memory runs out, the kernel ends a conversion before it looks at anything else. */
const OOM_SCORE = "900";
/** Between asking a conversion to stop and ending it. */
const STOP_GRACE_MS = 10_000;
/** What is kept of its standard error, in characters. */
const STDERR_TAIL = 2000;

/** A conversion that failed: `code` is that of its error, or ERR_PROCESS when the process itself came to an end. */
export class ConversionError extends Error {
  override readonly name = "ConversionError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface ChildOptions {
  readonly memoryMiB: number;
  readonly signal: AbortSignal;
  readonly onProgress: (phase: Phase, doneBytes: number, totalBytes: number) => void;
  readonly onWarning: (message: string) => void;
}

/**
 * Converts an image in a process of its own.
 * @throws ConversionError; the reason of `signal` when it is aborted
 */
export async function convertInChild(request: ConversionRequest, options: ChildOptions): Promise<Result> {
  options.signal.throwIfAborted();
  // Not for a process that handles strangers' images.
  const { EROFSIFY_DATABASE: _, ...env } = process.env;
  const child = spawn(
    process.execPath,
    [...NODE_OPTIONS, `--max-old-space-size=${options.memoryMiB}`, MAIN, "job", "convert-one"],
    { stdio: ["pipe", "pipe", "pipe"], env: { ...env, UV_THREADPOOL_SIZE: THREAD_POOL_SIZE } },
  );
  preferForOom(child.pid);
  const stop = stopper(child);
  options.signal.addEventListener("abort", stop.begin, { once: true });
  try {
    const ended = exitOf(child);
    child.stdin.on("error", () => {}); // It may end before it has read the request; its exit tells why.
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const [outcome, stderr] = await Promise.all([readOutcome(child.stdout, options), tailOf(child.stderr)]);
    const { status, signal } = await ended;
    options.signal.throwIfAborted();
    if (outcome?.type === "result" && status === 0) return outcome;
    if (outcome?.type === "error") throw new ConversionError(outcome.code, outcome.message);
    throw new ConversionError("ERR_PROCESS", `the conversion's process ${howItEnded(status, signal, stderr)}`);
  } finally {
    options.signal.removeEventListener("abort", stop.begin);
    stop.end();
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  }
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

function preferForOom(pid: number | undefined): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE);
  } catch {
    // It has ended already, or /proc is not there to be written.
  }
}

/** Asks the process to stop, and ends it when it does not. */
function stopper(child: Child): { begin: () => void; end: () => void } {
  let timer: NodeJS.Timeout | undefined;
  return {
    begin() {
      child.kill("SIGTERM");
      timer = setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS);
    },
    end: () => clearTimeout(timer),
  };
}

function exitOf(child: Child): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new ConversionError("ERR_PROCESS", error.message)));
    child.once("close", (status, signal) => resolve({ status, signal }));
  });
}

/** Reads the process's lines to their end. @returns The last outcome it told. */
async function readOutcome(stdout: Readable, options: ChildOptions): Promise<ConversionMessage | undefined> {
  let outcome: ConversionMessage | undefined;
  let rest = "";
  for await (const chunk of stdout.setEncoding("utf8")) {
    const lines = `${rest}${chunk}`.split("\n");
    rest = lines.pop()!;
    if (rest.length > MAX_LINE_BYTES)
      throw new ConversionError("ERR_PROCESS", "the conversion's process tells nonsense");
    for (const line of lines) {
      const message = readLine(line);
      if (message.type === "progress") options.onProgress(message.phase, message.doneBytes, message.totalBytes);
      else if (message.type === "warning") options.onWarning(message.message);
      else outcome = message;
    }
  }
  return outcome;
}

function readLine(line: string): ConversionMessage {
  try {
    return parseMessage(line);
  } catch (error) {
    throw new ConversionError("ERR_PROCESS", `the conversion's process tells nonsense: ${(error as Error).message}`);
  }
}

async function tailOf(stream: Readable): Promise<string> {
  let tail = "";
  for await (const chunk of stream.setEncoding("utf8")) tail = `${tail}${chunk}`.slice(-STDERR_TAIL);
  return tail;
}

function howItEnded(status: number | null, signal: NodeJS.Signals | null, stderr: string): string {
  const heap = /JavaScript heap out of memory/.test(stderr);
  if (heap) return "used up its memory (raise `memoryMiB` if the image is worth it)";
  if (signal === "SIGKILL") return "was ended by SIGKILL: the machine had no memory left, or somebody did it";
  if (signal !== null) return `was ended by ${signal}`;
  return `ended with status ${status}${stderr.trim() && `: ${stderr.trim().split("\n").at(-1)}`}`;
}
