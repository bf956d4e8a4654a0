import { FuseMount } from "../../fuse/device/index.ts";
import { createPassthroughShared } from "../../fuse/passthrough/index.ts";
import { UsageError } from "../exit.ts";
import { folder } from "../folder.ts";
import { createLogger } from "../logger.ts";
import { parseCount } from "../numbers.ts";
import { type PassthroughOptions, passthroughConfig } from "../passthrough-options.ts";
import { serveUntilStopped } from "../serve.ts";

export interface PassthroughCommandOptions extends PassthroughOptions {
  readonly threads: string;
  readonly allowOther?: boolean;
  readonly allowDevices?: boolean;
  readonly allowSuid?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

/** `blobd passthrough`: a directory of this host, served on this host. */
export async function run(source: string, mountPoint: string, options: PassthroughCommandOptions): Promise<void> {
  const logger = createLogger(options.logLevel);
  const threads = parseCount("--threads", options.threads, 1, 64);
  const [from, target] = [folder(source), folder(mountPoint)];
  if (from === target) throw new UsageError(`${mountPoint}: is the directory that is to be served`);
  const config = passthroughConfig(from, options);
  // Modes of new files come from whoever makes them, less their own umask.
  process.umask(0);
  const mount = await FuseMount.start({
    target,
    source: from,
    readOnly: config.readOnly ?? false,
    allowOther: options.allowOther ?? process.geteuid?.() === 0,
    allowDevices: options.allowDevices ?? false,
    allowSuid: options.allowSuid ?? false,
    threads,
    log: (line) => logger.warn(line),
    fileSystem: {
      module: new URL("../../fuse/passthrough/index.js", import.meta.url).href,
      open: "openPassthrough",
      args: [config, createPassthroughShared(config)],
    },
  });
  const served = serveUntilStopped(mount, logger);
  logger.info({ target, threads, ...config }, "mounted");
  process.stdout.write(
    options.json ? `${JSON.stringify({ source: from, target, pid: process.pid })}\n` : `${target}: ${from}\n`,
  );
  await served;
}
