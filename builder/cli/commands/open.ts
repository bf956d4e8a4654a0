import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { type OpenedImage, openImage } from "../../open/index.ts";
import { warn } from "../exit.ts";

/** Options that say where an image's parts are. */
export interface ImageOptions {
  readonly store?: string;
  readonly device?: readonly string[];
}

/** Opens the image a command names, runs `work`, and closes it. */
export async function withImage<T>(
  target: string,
  options: ImageOptions,
  work: (image: OpenedImage) => T | Promise<T>,
): Promise<T> {
  const image = await openImage(target, {
    storeRoot: options.store ?? defaultStoreRoot(),
    onWarning: warn,
    ...(options.device !== undefined && { devicePaths: options.device }),
  });
  try {
    return await work(image);
  } finally {
    image.close();
  }
}
