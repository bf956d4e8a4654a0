import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { convertImage, ImageError, type OpenedImage, openImage } from "../../image/index.ts";
import { parseSource } from "../../sources/index.ts";
import { onInterrupt } from "../interrupt.ts";
import { createProgress } from "../ui/progress.ts";
import { parsePlatformOption } from "./convert.ts";

/** Options of commands that convert an image when it is not there. */
export interface AcquireOptions {
  readonly store?: string;
  readonly platform?: string;
  readonly plainHttp?: boolean;
  /** Ask the source even when an image of this name is in the store. */
  readonly pull?: boolean;
  readonly quiet?: boolean;
}

/** Opens what `target` names (a file, a folder, an image in the store), or converts it first. */
export async function openOrConvert(target: string, options: AcquireOptions): Promise<OpenedImage> {
  const storeRoot = options.store ?? defaultStoreRoot();
  if (!options.pull) {
    try {
      return await openImage(target, { storeRoot });
    } catch (error) {
      if (!(error instanceof ImageError) || error.code !== "ERR_NO_IMAGE") throw error;
    }
  }
  const platform = parsePlatformOption(options.platform);
  const spec = parseSource(target, {
    ...(options.plainHttp && { plainHttp: true }),
    ...(platform !== undefined && { platform }),
  });
  const progress = await createProgress({ quiet: options.quiet ?? false, stream: process.stderr });
  const interrupt = onInterrupt();
  try {
    const { key } = await convertImage(spec, {
      storeRoot,
      layer: { inlineTails: false },
      onProgress: progress.listener,
      signal: interrupt.signal,
    });
    progress.stop();
    return await openImage(key, { storeRoot });
  } finally {
    progress.stop();
    interrupt.dispose();
  }
}
