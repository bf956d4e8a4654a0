import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { hasVerity, ImageError, type OpenedImage, openImage } from "../../open/index.ts";
import { UsageError, warn } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import { createProgress } from "../ui/progress.ts";
import type { FormOptions } from "./obtain.ts";
import { type SourceCommandOptions, sourceOf } from "./source.ts";

/** Options of commands that convert an image when it is not there. */
export interface AcquireOptions extends SourceCommandOptions, FormOptions {
  readonly store?: string;
  /** Ask the source even when an image of this name is in the store. */
  readonly pull?: boolean;
  readonly quiet?: boolean;
  /** Use a pushed image before it is here: its blobs come as they are read. */
  readonly lazy?: boolean;
  /** The image must have hash trees: one without is converted again. */
  readonly verity?: boolean;
  /** With `lazy`: what is read of it first is recorded. */
  readonly isRecorded?: boolean;
}

/*
 * What makes or fetches an image is loaded when that is done: a guest of an image that is here starts sooner without.
 */

/** Opens what `target` names (a file, a folder, an image in the store), or converts it first. */
export async function openOrConvert(target: string, options: AcquireOptions): Promise<OpenedImage> {
  const storeRoot = options.store ?? defaultStoreRoot();
  if (options.lazy) return openLazily(target, storeRoot, options);
  if (!options.pull && !options.fromSource) {
    try {
      const image = await openImage(target, { storeRoot });
      if (!options.verity || hasVerity(image)) return image;
      image.close();
      if (image.stored === undefined)
        throw new UsageError(
          `${target} is a file: nobody tells which digests it must have, expected an image of the store`,
        );
    } catch (error) {
      if (!(error instanceof ImageError) || error.code !== "ERR_NO_IMAGE") throw error;
    }
  }
  const spec = sourceOf(target, options);
  const progress = await createProgress({ quiet: options.quiet ?? false, stream: process.stderr });
  const interrupt = onInterrupt();
  try {
    const { obtainImage } = await import("./obtain.ts");
    const convertOptions = {
      storeRoot,
      layer: { inlineTails: false, verity: options.verity ?? false },
      onProgress: progress.listener,
      signal: interrupt.signal,
    };
    const { result } = await obtainImage(spec, convertOptions, options);
    progress.stop();
    return await openImage(result.key, { storeRoot });
  } finally {
    progress.stop();
    interrupt.dispose();
  }
}

/** The blobs stay with this process: its end is the end of their lease. */
async function openLazily(target: string, storeRoot: string, options: AcquireOptions): Promise<OpenedImage> {
  if (options.fromSource)
    throw new UsageError("--lazy and --from-source exclude each other: tar layers come as a whole");
  const spec = sourceOf(target, options);
  const interrupt = onInterrupt();
  try {
    const { openLazy } = await import("../../lazy/index.ts");
    const { isRecorded = false } = options;
    const { image, lease } = await openLazy(spec, {
      storeRoot,
      signal: interrupt.signal,
      isRecorded,
      onWarning: warn,
      ...(options.trustReferrers && { trustReferrers: true }),
    });
    if (!options.verity || hasVerity(image)) return image;
    image.close();
    lease.end();
    throw new ImageError("ERR_BAD_IMAGE", `${target} was pushed without hash trees: erofsify push --verity makes them`);
  } finally {
    interrupt.dispose();
  }
}

/**
 * The image itself when its files fit `limit` devices; else the same image laid into one file, which the user is told.
 * What comes back is open, the other closed.
 */
export async function fitToDevices(
  image: OpenedImage,
  limit: number,
  vmm: string,
  options: AcquireOptions,
): Promise<OpenedImage> {
  const parts = 1 + image.devicePaths.length;
  if (parts <= limit || image.stored === undefined) return image;
  if (options.verity)
    throw new ImageError(
      "ERR_BAD_IMAGE",
      `the image has ${parts} files, ${vmm} guests take ${limit} as devices: one flat file would have no hash tree, run it without --verity`,
    );
  if (options.lazy)
    throw new ImageError(
      "ERR_BAD_IMAGE",
      `the image has ${parts} files, ${vmm} guests take ${limit} as devices: run it without --lazy`,
    );
  const storeRoot = options.store ?? defaultStoreRoot();
  const interrupt = onInterrupt();
  try {
    if (!options.quiet)
      warn(
        `the image has ${parts} files, ${vmm} guests take ${limit} as devices: it becomes one flat file, whose memory ` +
          "is not shared with guests of other images",
      );
    const { flattenImage } = await import("../../image/index.ts");
    return await openImage(await flattenImage(storeRoot, image.stored.key, interrupt.signal), { storeRoot });
  } finally {
    interrupt.dispose();
    image.close();
  }
}
