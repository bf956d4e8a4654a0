import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { startSnapshotter, type VmForm } from "../../snapshotter/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import { UsageError } from "../exit.ts";
import { createLogger, type Logger } from "../logger.ts";
import { checkHostPort, parseBytes } from "../numbers.ts";

export interface SnapshotterCommandOptions {
  readonly address: string;
  readonly containerd: string;
  readonly root: string;
  readonly store?: string;
  readonly metrics?: string;
  readonly maxLayerSize?: string;
  readonly kubeconfig?: string;
  readonly vm?: VmForm;
  readonly layered?: boolean;
  readonly onDemand: boolean;
  readonly trustReferrers?: boolean;
  readonly erofsify?: string;
  readonly logLevel: string;
}

/** The erofsify of the same build: this file is dist/blobd/cli/commands/snapshotter.js when it runs. */
const EROFSIFY = fileURLToPath(new URL("../../../bin/erofsify.js", import.meta.url));

/** `blobd snapshotter`: serves containerd until it is told to stop. Mounts stay then, for containers use them. */
export async function run(options: SnapshotterCommandOptions): Promise<void> {
  const log = createLogger(options.logLevel);
  const program = options.erofsify ?? EROFSIFY;
  if (!existsSync(program)) throw new UsageError(`${program}: the erofsify program is not there; see --erofsify`);
  if (options.metrics !== undefined) checkHostPort("--metrics", options.metrics);
  // The root directory of a container has the mode that is asked for, whatever starts us.
  process.umask(0o022);
  const stopped = signalled(log);
  const running = await startSnapshotter({
    address: options.address,
    containerd: options.containerd,
    root: options.root,
    store: options.store ?? defaultStoreRoot(),
    metrics: options.metrics,
    maxLayerBytes:
      options.maxLayerSize === undefined ? undefined : parseBytes("--max-layer-size", options.maxLayerSize),
    kubeconfig: options.kubeconfig,
    vm: options.layered ? "layered" : options.vm,
    onDemand: options.onDemand,
    trustReferrers: options.trustReferrers,
    program,
    log,
  });
  await stopped;
  await running.stop();
}

function signalled(log: Logger): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => {
        log.info({ signal }, "snapshotter stops");
        resolve();
      });
  });
}
