/** Converted images to registries. */
export {
  DEFAULT_CHUNK_BYTES,
  DEFAULT_LEVEL,
  type PushEvent,
  type PushOptions,
  type PushResult,
  pushImage,
} from "./push-image.ts";
