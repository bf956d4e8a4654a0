import type { FuseMount } from "../fuse/device/index.ts";
import type { Logger } from "./logger.ts";

/**
 * Serves until the mount is gone, by umount(8) or by a signal. The first SIGINT or SIGTERM unmounts; while somebody uses
 * the mount it is detached, and served until the last of them is done. The second aborts it.
 */
export async function serveUntilStopped(mount: FuseMount, logger: Logger): Promise<void> {
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
