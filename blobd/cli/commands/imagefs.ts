import { FuseMount } from "../../fuse/device/index.ts";
import { createImageShared, type ImageConfig } from "../../fuse/imagefs/index.ts";
import { findImageFiles } from "../../images/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import { folder } from "../folder.ts";
import { createLogger } from "../logger.ts";
import { parseCount } from "../numbers.ts";
import { serveUntilStopped } from "../serve.ts";

export interface ImagefsCommandOptions {
  readonly store?: string;
  readonly blobFolder: readonly string[];
  readonly threads: string;
  readonly allowOther?: boolean;
  readonly allowDevices?: boolean;
  readonly allowSuid?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

/** `blobd imagefs`: an image's tree, served on this host. */
export async function run(image: string, mountPoint: string, options: ImagefsCommandOptions): Promise<void> {
  const logger = createLogger(options.logLevel);
  const threads = parseCount("--threads", options.threads, 1, 64);
  const target = folder(mountPoint);
  const files = await findImageFiles(image, options.store ?? defaultStoreRoot(), options.blobFolder);
  const config: ImageConfig = { kind: "image", metaPath: files.metaPath, devicePaths: files.devicePaths };
  const shared = createImageShared(config);
  // Open files stay, whoever prunes the store.
  files.close();
  const mount = await FuseMount.start({
    target,
    source: image,
    readOnly: true,
    allowOther: options.allowOther ?? process.geteuid?.() === 0,
    allowDevices: options.allowDevices ?? false,
    allowSuid: options.allowSuid ?? false,
    threads,
    log: (line) => logger.warn(line),
    fileSystem: {
      module: new URL("../../fuse/imagefs/index.js", import.meta.url).href,
      open: "openImage",
      args: [config, shared],
    },
  });
  const served = serveUntilStopped(mount, logger);
  logger.info({ target, threads, ...config }, "mounted");
  process.stdout.write(
    options.json ? `${JSON.stringify({ image, target, pid: process.pid })}\n` : `${target}: ${image}\n`,
  );
  await served;
}
