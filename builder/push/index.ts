/** Converted images to registries. */
export { isIndexOf } from "./image-index.ts";
export {
  type PushedImage,
  type PushForm,
  type PushFormat,
  type PushOptions,
  type PushResult,
  pushImages,
} from "./push-image.ts";
export type { PushEvent } from "./push-manifest.ts";
export { hasManifest, openSource, type SourceImage, sourcePlatforms } from "./source-image.ts";
