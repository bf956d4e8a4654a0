import { createPassthroughShared } from "../../fuse/passthrough/index.ts";
import { UsageError } from "../exit.ts";
import { folder } from "../folder.ts";
import { createLogger } from "../logger.ts";
import { parseCount } from "../numbers.ts";
import { type PassthroughOptions, passthroughConfig } from "../passthrough-options.ts";
import { type MountCommandOptions, serveOnHost } from "../serve.ts";

export interface PassthroughCommandOptions extends PassthroughOptions, MountCommandOptions {
  readonly threads: string;
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
  const fileSystem = {
    module: new URL("../../fuse/passthrough/index.js", import.meta.url).href,
    open: "openPassthrough",
    args: [config, createPassthroughShared(config)],
  };
  const mounted = { target, source: from, readOnly: config.readOnly ?? false, threads, fileSystem };
  await serveOnHost(mounted, options, logger, config, { source: from });
}
