import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import {
  formatShortRequest,
  MAX_CONTROL_BYTES,
  parseControlError,
  parseTrace,
  type ShortRequest,
} from "../../../formats/control/index.ts";
import { formatPrefetchList } from "../../../formats/oci/index.ts";
import { controlSocketPath, linesOf } from "../../control/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import { MAX_TIMER_MS, parseSeconds } from "../numbers.ts";

export interface TraceCommandOptions {
  readonly store?: string;
  readonly socket?: string;
  readonly output?: string;
  readonly seconds?: string;
}

/** `blobd trace`: has the store's `blobd serve` record what is read first, until a signal or for a time. */
export async function run(options: TraceCommandOptions): Promise<void> {
  const path = options.socket ?? controlSocketPath(options.store ?? defaultStoreRoot());
  const forMs = options.seconds === undefined ? undefined : parseSeconds("--seconds", options.seconds, MAX_TIMER_MS);
  const socket = await connectTo(path);
  const answers = linesOf(socket, MAX_CONTROL_BYTES);
  const ask = async (request: ShortRequest): Promise<Buffer> => {
    socket.write(formatShortRequest(request));
    const { value, done } = await answers.next();
    if (done) throw gone(path);
    const failed = parseControlError(value);
    if (failed !== undefined) throw Object.assign(new Error(`${path}: ${failed.error}`), { code: failed.code });
    return value;
  };
  const stopped = untilStopped(socket, path, forMs);
  stopped.catch(() => {}); // Who asks meanwhile is told of the end, too.
  await ask("record");
  process.stderr.write("blobd: recording what is read first of the blobs that clients are given from now on\n");
  await stopped;
  const list = parseTrace(await ask("trace"));
  socket.destroy();
  const text = `${formatPrefetchList(list)}\n`;
  if (options.output === undefined) process.stdout.write(text);
  else writeFileSync(options.output, text);
  const bytes = list.ranges.reduce((sum, range) => sum + range.bytes, 0);
  process.stderr.write(
    `blobd: ${(bytes / 2 ** 20).toFixed(1)} MiB in ${list.ranges.length} ranges of ${list.blobs.length} blobs\n`,
  );
}

function connectTo(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", ({ code }: NodeJS.ErrnoException) =>
      reject(Object.assign(new Error(`${path}: no blobd serve answers there (${code}): start it first`), { code })),
    );
  });
}

/** @throws Error when the service ends before */
function untilStopped(socket: Socket, path: string, forMs: number | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (forMs !== undefined) setTimeout(resolve, forMs);
    process.once("SIGINT", () => resolve()).once("SIGTERM", () => resolve());
    socket.on("error", () => {}).once("close", () => reject(gone(path)));
  });
}

function gone(path: string): Error {
  return Object.assign(new Error(`${path}: blobd serve has ended`), { code: "EPIPE" });
}
