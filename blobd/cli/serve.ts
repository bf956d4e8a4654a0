import { FuseMount, type FuseMountOptions } from "../fuse/device/index.ts";
import type { Logger } from "./logger.ts";

/** Options of every command that mounts something on this host. */
export interface MountCommandOptions {
  readonly allowOther?: boolean;
  readonly allowDevices?: boolean;
  readonly allowSuid?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

type Mounted = Pick<FuseMountOptions, "target" | "source" | "threads" | "fileSystem"> & { readonly readOnly: boolean };

/**
 * Mounts a file system, says so, and serves it until it is stopped.
 * @param config is logged
 * @param told what `--json` tells besides the mount point and the process
 */
export async function serveOnHost(
  mounted: Mounted,
  options: MountCommandOptions,
  logger: Logger,
  config: object,
  told: Readonly<Record<string, string>>,
): Promise<void> {
  const { target, source, threads } = mounted;
  const mount = await FuseMount.start({
    ...mounted,
    allowOther: options.allowOther ?? process.geteuid?.() === 0,
    allowDevices: options.allowDevices ?? false,
    allowSuid: options.allowSuid ?? false,
    log: (line) => logger.warn(line),
  });
  const served = serveUntilStopped(mount, logger);
  logger.info({ target, threads, ...config }, "mounted");
  process.stdout.write(
    options.json ? `${JSON.stringify({ ...told, target, pid: process.pid })}\n` : `${target}: ${source}\n`,
  );
  await served;
}

/**
 * Serves until the mount is gone, by umount(8) or by a signal. The first SIGINT or SIGTERM unmounts; while somebody uses
 * the mount it is detached, and served until the last of them is done. The second aborts it.
 */
async function serveUntilStopped(mount: FuseMount, logger: Logger): Promise<void> {
  let signals = 0;
  const stop = (signal: NodeJS.Signals) => {
    signals++;
    logger.info({ signal }, signals === 1 ? "unmounting" : "aborting");
    const stopped = signals === 1 ? mount.unmount("detach") : mount.abort();
    stopped.catch((error: unknown) => logger.error({ err: error }, "the mount could not be taken away"));
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    await mount.done;
    logger.info("unmounted");
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}
