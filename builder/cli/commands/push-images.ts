import { defaultStoreRoot, type ImageRecord } from "../../../blobd/store/index.ts";
import { platformFit } from "../../../formats/oci/index.ts";
import { convertImage, type ProgressListener } from "../../image/index.ts";
import type { RegistrySpec, SourceSpec } from "../../names/index.ts";
import { configOfRecord, hasVerity, ImageError, type OpenedImage, openImage } from "../../open/index.ts";
import { hasManifest, openSource, type PushForm, type SourceImage, sourcePlatforms } from "../../push/index.ts";
import { UsageError } from "../exit.ts";
import { type SourceCommandOptions, sourceOf } from "./source.ts";

export interface PushImagesOptions extends SourceCommandOptions {
  readonly store?: string;
  readonly pull?: boolean;
  readonly verity?: boolean;
  /** Images of the store: what they hold is not stored, or sent, again. */
  readonly dict?: readonly string[];
  readonly allPlatforms?: boolean;
}

/** An image of the store, open: nobody prunes it meanwhile. */
export interface ImageToPush {
  readonly image: OpenedImage;
  readonly record: ImageRecord;
}

/**
 * The images that a reference means, converted here: one, or one for each platform that its source has. What comes back is the
 * caller's to close.
 */
export async function imagesToPush(
  ref: string,
  form: PushForm,
  options: PushImagesOptions,
  onProgress: ProgressListener,
  signal: AbortSignal,
): Promise<ImageToPush[]> {
  // Asked at most once, for all platforms.
  let source: Promise<SourceImage> | undefined;
  const openOnce: OpenSource = ({ reference }) => {
    source ??= openSource(reference, options.plainHttp ? { plainHttp: true } : {}, signal);
    return source;
  };
  const images: ImageToPush[] = [];
  try {
    for (const spec of await specsOf(ref, options, openOnce)) {
      const here = options.pull || options.dict !== undefined ? undefined : await openHere(ref, spec, options);
      const isCurrent = here !== undefined && (form === "tag" || (await isOfSource(here, spec, openOnce)));
      if (here !== undefined && !isCurrent) here.close();
      const image = isCurrent ? here : await convert(spec, options, onProgress, signal);
      if (image.stored === undefined) {
        image.close();
        throw new UsageError(`${ref} is a file: expected an image of the store, or a source`);
      }
      images.push({ image, record: image.stored.record });
    }
    return images;
  } catch (error) {
    for (const { image } of images) image.close();
    throw error;
  }
}

/** Opens the source that all images are of. */
type OpenSource = (spec: RegistrySpec) => Promise<SourceImage>;

/** An image by its key. @throws ImageError when it is not in the store any more */
export async function imageOfKey(key: string, { store }: PushImagesOptions): Promise<ImageToPush> {
  const image = await openImage(key, { storeRoot: store ?? defaultStoreRoot() });
  return { image, record: image.stored!.record };
}

async function specsOf(ref: string, options: PushImagesOptions, open: OpenSource): Promise<SourceSpec[]> {
  const spec = sourceOf(ref, options);
  if (!options.allPlatforms) return [spec];
  if (options.platform !== undefined) throw new UsageError("--platform and --all-platforms exclude each other");
  if (spec.kind !== "registry") throw new UsageError(`--all-platforms: ${ref} is not in a registry`);
  const platforms = await sourcePlatforms(await open(spec));
  return platforms.map((platform) => ({ ...spec, platform }));
}

/** The image of this name, if it was made here, of tar layers, for the platform that is meant. */
async function openHere(ref: string, spec: SourceSpec, options: PushImagesOptions): Promise<OpenedImage | undefined> {
  let image: OpenedImage;
  try {
    image = await openImage(ref, { storeRoot: options.store ?? defaultStoreRoot() });
  } catch (error) {
    if (error instanceof ImageError && error.code === "ERR_NO_IMAGE") return undefined;
    throw error;
  }
  if (image.stored === undefined) return image;
  const { layers } = image.stored.record;
  const { platform } = configOfRecord(image.stored.record);
  const isForIt = platform.architecture === "" || platformFit(platform, spec.platform) > 0;
  if (layers.length > 0 && isForIt && (!options.verity || hasVerity(image))) return image;
  image.close();
  return undefined;
}

/** An index and an attachment are about what the source is now. */
async function isOfSource({ stored }: OpenedImage, spec: SourceSpec, open: OpenSource): Promise<boolean> {
  if (stored === undefined || spec.kind !== "registry") return true;
  return hasManifest(await open(spec), stored.record.manifestDigest);
}

async function convert(
  spec: SourceSpec,
  options: PushImagesOptions,
  onProgress: ProgressListener,
  signal: AbortSignal,
): Promise<OpenedImage> {
  const storeRoot = options.store ?? defaultStoreRoot();
  const layer = { inlineTails: false, verity: options.verity ?? false };
  const dictionary = options.dict && { dictionary: options.dict };
  const { key } = await convertImage(spec, { storeRoot, layer, ...dictionary, onProgress, signal });
  return openImage(key, { storeRoot });
}
