import { type ChildProcess, spawn } from "node:child_process";
import { text } from "node:stream/consumers";

/** A command that ended with another status than 0. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly status: number | null;
  readonly stderr: string;

  constructor(command: string, status: number | null, stdout: string, stderr: string) {
    super(
      `${command} ended with ${status === null ? "a signal" : `status ${status}`}: ${stderr.trim() || stdout.trim()}`,
    );
    this.status = status;
    this.stderr = stderr;
  }
}

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes for the command's standard input; without them it is empty. */
  readonly input?: Uint8Array | string;
}

/** How a command ended: its output as UTF-8 text. */
export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command to its end.
 * @throws CommandError unless it ends with status 0; ENOENT when there is no such command.
 */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  child.stdin.on("error", () => {}); // A command need not read its input to the end.
  child.stdin.end(options.input);
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status !== 0) throw new CommandError([command, ...args].join(" "), status, stdout, stderr);
  return { stdout, stderr };
}

/** A server started for a test. */
export interface Server {
  readonly child: ChildProcess;
  /** Its first output that matched. */
  readonly ready: RegExpExecArray;
  /** Ends it and waits for the end. */
  stop(): Promise<void>;
}

/** How long a server may take to say that it is ready, in ms. */
const READY_TIMEOUT_MS = 20_000;

/**
 * Starts a server and waits for the line of output that says it is ready. The kernel ends it together with this process,
 * however that dies.
 * @throws Error with its output when it ends or stays silent instead.
 */
export async function startServer(command: string, args: readonly string[], ready: RegExp): Promise<Server> {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", command, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const match = await new Promise<RegExpExecArray>((resolve, reject) => {
    let output = "";
    const fail = (why: string) => {
      child.kill("SIGKILL");
      reject(new Error(`${command} ${why}: ${output.trim()}`));
    };
    const timer = setTimeout(() => fail("was not ready in time"), READY_TIMEOUT_MS);
    const onEnd = () => fail("ended at once");
    const onData = (chunk: Buffer) => {
      output += chunk.toString();
      const found = ready.exec(output);
      if (found === null) return;
      clearTimeout(timer);
      child.off("close", onEnd);
      for (const stream of [child.stdout, child.stderr]) stream.off("data", onData).resume();
      resolve(found);
    };
    child.once("error", (error) => fail(error.message));
    child.once("close", onEnd);
    child.stdout.on("data", onData);
    child.stderr.on("data", onData);
  });
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  return { child, ready: match, stop };
}
