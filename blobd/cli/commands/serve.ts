import { defaultMountPoint, keepServing } from "../../serve/keep/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import { createLogger } from "../logger.ts";
import { checkHostPort, parseBytes, parseCount, parseSeconds } from "../numbers.ts";

export interface ServeCommandOptions {
  readonly store?: string;
  readonly mount?: string;
  readonly socket?: string;
  readonly idle?: string;
  readonly maxSize?: string;
  readonly metrics?: string;
  readonly giveUp?: string;
  readonly bandwidth?: string;
  readonly connections?: string;
  readonly readAhead?: string;
  readonly supervised: boolean;
  /** Started by a keeper. */
  readonly held?: boolean;
  readonly logLevel: string;
}

/** `blobd serve`: a store's blobs on demand. */
export async function run(options: ServeCommandOptions): Promise<void> {
  const logger = createLogger(options.logLevel);
  const storeRoot = options.store ?? defaultStoreRoot();
  if (options.metrics !== undefined) checkHostPort("--metrics", options.metrics);
  if (options.supervised && !options.held) {
    process.exitCode = await keepServing({
      storeRoot,
      mountPoint: options.mount ?? defaultMountPoint(storeRoot),
      command: [process.execPath, ...process.execArgv, ...process.argv.slice(1), "--held"],
      log: (line) => logger.warn(line),
    });
    return;
  }
  // Not loaded in a keeper, which has no use for it.
  const [{ DEFAULT_FETCH }, { heldForUs, startServing }] = await Promise.all([
    import("../../fetch/index.ts"),
    import("../../serve/index.ts"),
  ]);
  const keeping = options.held ? await heldForUs() : undefined;
  const serving = await startServing({
    storeRoot,
    ...(keeping && { keeping }),
    ...(options.mount !== undefined && { mountPoint: options.mount }),
    ...(options.socket !== undefined && { socketPath: options.socket }),
    ...(options.idle !== undefined && { idleMs: parseSeconds("--idle", options.idle) }),
    ...(options.metrics !== undefined && { metrics: options.metrics }),
    ...(options.maxSize !== undefined && { maxBytes: parseBytes("--max-size", options.maxSize) }),
    fetch: {
      ...DEFAULT_FETCH,
      ...(options.giveUp !== undefined && { giveUpMs: parseSeconds("--give-up", options.giveUp) }),
      ...(options.bandwidth !== undefined && { bytesPerSecond: parseBytes("--bandwidth", options.bandwidth) }),
      ...(options.connections !== undefined && {
        connections: parseCount("--connections", options.connections, 1, 64),
      }),
      ...(options.readAhead !== undefined && { readAheadBytes: parseBytes("--read-ahead", options.readAhead) }),
    },
    log: (line) => logger.warn(line),
  });
  const { socketPath, mountPoint } = serving;
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      logger.info({ signal }, "stopping");
      serving.stop().catch((error: unknown) => logger.error({ err: error }, "the mount could not be taken away"));
    });
  logger.info({ socketPath, mountPoint }, "serving");
  const keeper = keeping === undefined ? {} : { keeper: process.ppid };
  process.stdout.write(`${JSON.stringify({ socket: socketPath, mount: mountPoint, pid: process.pid, ...keeper })}\n`);
  await serving.done;
}
