import type { Logger } from "./logger.ts";

/** A device on a vhost-user socket. */
interface GuestDevice {
  /** Resolves when nobody can connect any more. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** Serves a device until it is stopped by SIGINT or SIGTERM, or nobody can connect any more; everything is given back then. */
export async function serveGuest(device: GuestDevice, logger: Logger): Promise<void> {
  let stopping: Promise<void> | null = null;
  const stop = (signal: NodeJS.Signals) => {
    logger.info({ signal }, "stopping");
    stopping ??= device.close();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  await device.ended;
  await (stopping ?? device.close());
}
