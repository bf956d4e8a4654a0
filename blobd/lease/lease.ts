import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type FetchedCounts,
  formatServeRequest,
  formatShortRequest,
  parseCounts,
  parseServed,
  parseTrace,
  type ServedBlob,
  type ServeRequest,
} from "../../formats/control/index.ts";
import { type PrefetchList, SourceError } from "../../formats/oci/index.ts";
import { controlSocketPath, tryConnect } from "../control/index.ts";
import { startAndConnect } from "./daemon.ts";
import { readLine } from "./read-line.ts";

/** How long a daemon that has died may take until its successor is there, in ms. */
const RENEW_MS = 15_000;
const RENEW_PAUSE_MS = 50;

export interface LeaseOptions {
  readonly signal: AbortSignal;
  /** Told when the daemon has ended and nobody has taken over, or has let go of us, before `end`. */
  readonly onLost?: () => void;
}

/** Blobs as files, for as long as the lease is held: until `end`, or the end of this process. */
export interface Lease {
  /** A file that has become complete is another one after the daemon's process has died and been followed by another. */
  readonly blobs: readonly ServedBlob[];
  /** What has been fetched of them so far; undefined when the daemon does not answer. */
  fetched(): Promise<FetchedCounts | undefined>;
  /** What has been read of them first, when the request had it recorded. @throws SourceError when the daemon has ended */
  trace(): Promise<PrefetchList>;
  /**
   * Resolves at the signal.
   * @param onRenewed told when `blobs` may have changed
   * @throws SourceError when the daemon ends before, and nobody takes over
   */
  held(signal: AbortSignal, onRenewed?: () => void): Promise<void>;
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
    return new HeldLease(socketPath, request, socket, await askForBlobs(socket, request), onLost);
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function askForBlobs(socket: Socket, request: ServeRequest): Promise<readonly ServedBlob[]> {
  socket.write(formatServeRequest(request));
  const answer = parseServed(await readLine(socket));
  if ("error" in answer) throw new SourceError(codeOf(answer.code), answer.error);
  return answer;
}

/** A lease is a connection. When the process behind it has died, and another one goes on with its files, that one is asked again. */
class HeldLease implements Lease {
  blobs: readonly ServedBlob[];
  readonly #socketPath: string;
  readonly #request: ServeRequest;
  readonly #onLost: (() => void) | undefined;
  #socket: Socket;
  #isEnded = false;
  /** This process lives for the lease. */
  #isWaitedFor = false;
  #onRenewed: (() => void) | undefined;
  #onEnd: (() => void) | undefined;

  constructor(
    socketPath: string,
    request: ServeRequest,
    socket: Socket,
    blobs: readonly ServedBlob[],
    onLost: (() => void) | undefined,
  ) {
    this.blobs = blobs;
    this.#socketPath = socketPath;
    this.#request = request;
    this.#onLost = onLost;
    this.#socket = socket;
    this.#watch();
  }

  fetched(): Promise<FetchedCounts | undefined> {
    return this.#ask(formatShortRequest("counts"), parseCounts).catch(() => undefined);
  }

  trace(): Promise<PrefetchList> {
    return this.#ask(formatShortRequest("trace"), parseTrace);
  }

  held(signal: AbortSignal, onRenewed?: () => void): Promise<void> {
    this.#onRenewed = onRenewed;
    return new Promise((resolve, reject) => {
      this.#onEnd = () => reject(new SourceError("ERR_IO", "blobd serve has ended"));
      if (this.#isEnded) this.#onEnd();
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
      this.#isWaitedFor = true;
      this.#socket.ref().resume();
    });
  }

  end(): void {
    this.#isEnded = true;
    this.#socket.destroy();
  }

  #watch(): void {
    const socket = this.#socket;
    // The lease must not keep a process that is done.
    if (!this.#isWaitedFor) socket.unref();
    socket.on("error", () => {}); // Its end is told by the close.
    const onClose = () => {
      if (!this.#isEnded) void this.#renew();
    };
    if (socket.destroyed) onClose();
    else socket.once("close", onClose);
  }

  async #renew(): Promise<void> {
    // What is fetched ahead was begun. Recorded files end with the process that recorded.
    const { prefetch: _, ...request } = this.#request;
    const deadline = request.isRecorded ? 0 : performance.now() + RENEW_MS;
    while (!this.#isEnded && performance.now() < deadline) {
      const socket = await tryConnect(this.#socketPath);
      try {
        if (socket !== undefined) return this.#take(socket, await askForBlobs(socket, request));
      } catch {
        socket?.destroy(); // It may be the socket of the process that is ending.
      }
      await sleep(RENEW_PAUSE_MS, undefined, { ref: this.#isWaitedFor });
    }
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#onLost?.();
    this.#onEnd?.();
  }

  #take(socket: Socket, blobs: readonly ServedBlob[]): void {
    if (this.#isEnded) return void socket.destroy();
    this.#socket = socket;
    this.blobs = blobs;
    this.#watch();
    this.#onRenewed?.();
  }

  async #ask<T>(request: string, parse: (answer: Buffer) => T): Promise<T> {
    const socket = this.#socket;
    socket.ref();
    try {
      socket.write(request);
      return parse(await readLine(socket));
    } finally {
      if (!this.#isWaitedFor) socket.unref();
    }
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
