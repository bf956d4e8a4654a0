import { closeSync } from "node:fs";
import { controlSocketPath, LineSocket } from "../control/index.ts";
import { DEFAULT_FETCH, type FetchOptions } from "../fetch/index.ts";
import { DEFAULT_RETRY, type Environment, pullCredentials } from "../registry/index.ts";
import { Store } from "../store/index.ts";
import { BlobService } from "./blob-service.ts";
import { Client } from "./client.ts";
import { defaultMountPoint, holdAlone, makeMountPoint } from "./keep/index.ts";
import type { Keeping } from "./take-over.ts";

export interface ServeOptions {
  readonly storeRoot: string;
  /** Default: `serve` in the store. */
  readonly mountPoint?: string;
  /** Default: `blobd.sock` in the store. */
  readonly socketPath?: string;
  readonly fetch?: Partial<FetchOptions>;
  /** What the store's blobs may take of the disk, in bytes: what is over is evicted, by last use and never while in use. */
  readonly maxBytes?: number;
  /** How often the store is looked at for being larger, in ms. */
  readonly evictEveryMs?: number;
  /** Ends when nobody has used it for so long, in ms; never without it. */
  readonly idleMs?: number;
  /** Where metrics are served, `host:port`; nowhere without it. */
  readonly metrics?: string;
  readonly env?: Environment;
  /** With it the mount outlives this process; it is at `mountPoint`. */
  readonly keeping?: Keeping;
  readonly log: (line: string) => void;
}

/** A service that runs. */
export interface Serving {
  readonly socketPath: string;
  readonly mountPoint: string;
  readonly service: BlobService;
  /** Resolves when it has ended, by itself or by `stop`. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

/** Threads that serve the mount: a read that has to wait holds none up. */
const THREADS = 2;

/**
 * Serves a store's blobs on this host until it is stopped, or idle.
 * @throws Error when another one serves there; SysError when it cannot be mounted
 */
export async function startServing(options: ServeOptions): Promise<Serving> {
  const { storeRoot, log } = options;
  // Makes the store when there is none.
  (await Store.open(storeRoot)).close();
  const mountPoint = options.mountPoint ?? defaultMountPoint(storeRoot);
  const socketPath = options.socketPath ?? controlSocketPath(storeRoot);
  // A keeper holds it for us.
  const lockFd = options.keeping === undefined ? await holdAlone(storeRoot, mountPoint) : -1;
  const letGo = () => {
    if (lockFd >= 0) closeSync(lockFd);
  };
  const closing = new AbortController();
  const { service, control } = await mountAndListen(options, mountPoint, socketPath, closing.signal).catch(
    (error: unknown) => {
      letGo();
      throw error;
    },
  );
  let idle: NodeJS.Timeout | undefined;
  let isEvicting = false;
  const evict = async (maxBytes: number) => {
    if (isEvicting) return;
    isEvicting = true;
    let store: Store | undefined;
    try {
      store = await Store.open(storeRoot);
      await store.evict({ maxBytes });
    } catch (error) {
      log((error as Error).message);
    } finally {
      store?.close();
      isEvicting = false;
    }
  };
  const { maxBytes, evictEveryMs = EVICT_MS } = options;
  const quota = maxBytes === undefined ? undefined : setInterval(() => void evict(maxBytes), evictEveryMs);
  let stopping: Promise<void> | undefined;
  const stop = () => {
    clearInterval(idle);
    clearInterval(quota);
    closing.abort();
    stopping ??= Promise.resolve(control.close())
      .then(() => service.close())
      .finally(letGo);
    return stopping;
  };
  // The mount's threads have left before the mount is taken away: that is the end only when nobody stops it.
  const done = service.done.then(() => stopping);
  if (options.idleMs !== undefined) {
    const { idleMs } = options;
    let usedMs = performance.now();
    idle = setInterval(() => {
      if (control.clients > 0 || service.shown > 0) usedMs = performance.now();
      else if (performance.now() - usedMs > idleMs) void stop();
    }, IDLE_LOOK_MS);
  }
  return { socketPath, mountPoint, service, done, stop };
}

async function mountAndListen(options: ServeOptions, mountPoint: string, socketPath: string, closing: AbortSignal) {
  const { storeRoot, keeping, log } = options;
  if (options.mountPoint === undefined && keeping === undefined) makeMountPoint(mountPoint);
  // Its library is loaded only when it is wanted: a service is started with each first guest.
  const metrics =
    options.metrics === undefined ? undefined : new (await import("./metrics.ts")).ServeMetrics(storeRoot);
  const service = await BlobService.start({
    storeRoot,
    mountPoint,
    threads: THREADS,
    fetch: { ...DEFAULT_FETCH, ...options.fetch },
    retry: DEFAULT_RETRY,
    env: pullCredentials(options.env ?? process.env, storeRoot),
    log,
    ...(metrics && { onFault: (seconds, isAnswered) => metrics.fault(seconds, isAnswered) }),
    ...(keeping && { keeping }),
  });
  let control: LineSocket | undefined;
  try {
    // With a keeper a socket that is there is the one of the process before, which may still be ending.
    control = await LineSocket.listen(socketPath, () => new Client(service), log, keeping !== undefined);
    await service.removeStaleHolds();
    metrics?.watch(() => service.totals);
    // Behind the service's start: its thread that may outlive the process for a while must not have this socket.
    await metrics?.serve(options.metrics!, (keeping?.mount.terms ?? null) !== null, closing);
    return { service, control };
  } catch (error) {
    control?.close();
    await service.close();
    throw error;
  }
}

const IDLE_LOOK_MS = 1000;
/** How often the store is looked at for being too large, in ms. */
const EVICT_MS = 10_000;
