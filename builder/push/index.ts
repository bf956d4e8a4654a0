/** Converted images to registries. */
export {
  type PushedImage,
  type PushForm,
  type PushFormat,
  type PushOptions,
  type PushResult,
  pushImages,
} from "./push-image.ts";
export { DEFAULT_CHUNK_BYTES, DEFAULT_LEVEL, type EncodingOptions, type PushEvent } from "./push-manifest.ts";
export { hasManifest, openSource, sourcePlatforms } from "./source-image.ts";
