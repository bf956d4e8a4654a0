import { createImageShared, type ImageConfig } from "../../fuse/imagefs/index.ts";
import { findImageFiles } from "../../images/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import { folder } from "../folder.ts";
import { createLogger } from "../logger.ts";
import { parseCount } from "../numbers.ts";
import { type MountCommandOptions, serveOnHost } from "../serve.ts";

export interface ImagefsCommandOptions extends MountCommandOptions {
  readonly store?: string;
  readonly blobFolder: readonly string[];
  readonly threads: string;
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
  const fileSystem = {
    module: new URL("../../fuse/imagefs/index.js", import.meta.url).href,
    open: "openImage",
    args: [config, shared],
  };
  await serveOnHost({ target, source: image, readOnly: true, threads, fileSystem }, options, logger, config, { image });
}
