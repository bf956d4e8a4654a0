import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import {
  type FetchedCounts,
  formatServeRequest,
  formatShortRequest,
  MAX_CONTROL_BYTES,
  parseCounts,
  parseServed,
  parseTrace,
  type ServedBlob,
  type ServeRequest,
} from "../../formats/control/index.ts";
import { type PrefetchList, SourceError } from "../../formats/oci/index.ts";
import { controlSocketPath, tryConnect } from "../control/index.ts";

/** This file is dist/blobd/lease/lease.js when it runs. */
const BLOBD = fileURLToPath(new URL("../cli/main.js", import.meta.url));
/** How long a daemon that we start may take to be there, in ms. */
const START_MS = 20_000;
/** A daemon that we start ends when nobody has used it for so long, in seconds: `$EROFSIFY_SERVE_IDLE`, or a minute. */
const IDLE_SECONDS = process.env.EROFSIFY_SERVE_IDLE ?? "60";

export interface LeaseOptions {
  readonly signal: AbortSignal;
  /** Told when the daemon has ended, or has let go of us, before `end`. */
  readonly onLost?: () => void;
}

/** Blobs as files, for as long as the lease is held: until `end`, or the end of this process. */
export interface Lease {
  readonly blobs: readonly ServedBlob[];
  /** What has been fetched of them so far; undefined when the daemon does not answer. */
  fetched(): Promise<FetchedCounts | undefined>;
  /** What has been read of them first, when the request had it recorded. @throws SourceError when the daemon has ended */
  trace(): Promise<PrefetchList>;
  /** Resolves at the signal. @throws SourceError when the daemon ends before */
  held(signal: AbortSignal): Promise<void>;
  end(): void;
}

/**
 * Asks the store's `blobd serve` for blobs, and starts one when none runs.
 * @throws SourceError with the daemon's words; the signal's reason
 */
export async function leaseBlobs(
  storeRoot: string,
  request: ServeRequest,
  { signal, onLost }: LeaseOptions,
): Promise<Lease> {
  const socketPath = controlSocketPath(storeRoot);
  const socket = (await tryConnect(socketPath)) ?? (await startAndConnect(storeRoot, socketPath));
  const abort = () => socket.destroy();
  signal.addEventListener("abort", abort, { once: true });
  try {
    // It may have been given while we connected.
    signal.throwIfAborted();
    socket.write(formatServeRequest(request));
    const answer = parseServed(await readLine(socket));
    if ("error" in answer) throw new SourceError(codeOf(answer.code), answer.error);
    // The lease must not keep a process that is done.
    socket.unref();
    let isHeld = true;
    socket.on("error", () => {}); // Its end is told by the close.
    socket.once("close", () => {
      if (isHeld) onLost?.();
    });
    return {
      blobs: answer,
      fetched: () => ask(socket, formatShortRequest("counts"), parseCounts).catch(() => undefined),
      trace: () => ask(socket, formatShortRequest("trace"), parseTrace),
      held: (until) => hold(socket, until),
      end: () => {
        isHeld = false;
        socket.destroy();
      },
    };
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function hold(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("close", () => reject(new SourceError("ERR_IO", "blobd serve has ended")));
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
    socket.ref().resume();
  });
}

async function ask<T>(socket: Socket, request: string, parse: (answer: Buffer) => T): Promise<T> {
  socket.ref();
  try {
    socket.write(request);
    return parse(await readLine(socket));
  } finally {
    socket.unref();
  }
}

/** The daemon's errors by the codes that commands end by. */
function codeOf(code: string): SourceError["code"] {
  if (code.startsWith("ERR_FETCH_")) return "ERR_NETWORK";
  const known: readonly SourceError["code"][] = [
    "ERR_NOT_FOUND",
    "ERR_UNAUTHORIZED",
    "ERR_NETWORK",
    "ERR_DIGEST",
    "ERR_UNSUPPORTED",
  ];
  return known.find((one) => one === code) ?? "ERR_IO";
}

/** It lives on without us: other guests use it. */
async function startAndConnect(storeRoot: string, socketPath: string): Promise<Socket> {
  const child = spawn(
    process.execPath,
    [BLOBD, "serve", "--store", storeRoot, "--idle", IDLE_SECONDS, "--log-level", "error"],
    {
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
      // Each chunk in hand takes up to three threads of libuv's pool.
      env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
    },
  );
  let said = "";
  let hasEnded = false;
  child.once("error", ({ message }) => {
    said = message;
    hasEnded = true;
  });
  // There is none when the process has no descriptors left for it.
  child.stderr?.on("data", (piece: Buffer) => {
    said = (said + piece.toString()).slice(-2000);
  });
  child.once("close", () => {
    hasEnded = true;
  });
  for (const deadline = performance.now() + START_MS; performance.now() < deadline; ) {
    const socket = await tryConnect(socketPath);
    if (socket !== undefined) {
      child.unref();
      child.stderr?.destroy();
      return socket;
    }
    // Another one may have been faster: then that one answers.
    if (hasEnded && !said.includes("another blobd serves")) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const silent = hasEnded ? "it has ended without a word" : "it was not there in time";
  throw new SourceError("ERR_IO", `blobd serve could not be started for ${storeRoot}: ${said.trim() || silent}`);
}

function readLine(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      // Read on: only who reads is told of the end.
      socket.off("data", onData).off("error", onError).off("close", onClose).resume();
      settle();
    };
    const onError = (error: Error) => end(() => reject(error));
    const onClose = () => end(() => reject(new SourceError("ERR_IO", "blobd serve has ended in the middle")));
    const onData = (piece: Buffer) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > MAX_CONTROL_BYTES)
        end(() => reject(new SourceError("ERR_LIMIT", "blobd serve answers without an end")));
      else if (piece.includes(10)) end(() => resolve(Buffer.concat(pieces)));
    };
    socket.on("data", onData).on("error", onError).on("close", onClose).resume();
  });
}
