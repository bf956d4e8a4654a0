/** OCI and Docker image documents as bytes: references, digests, manifests, indexes, configs, platforms. No I/O. */
export { type ExecutionConfig, type ImageConfig, MAX_CONFIG_BYTES, parseImageConfig } from "./config.ts";
export { type Digest, digestHex, isDigest, parseDigest } from "./digest.ts";
export { DocumentError, type DocumentErrorCode, JsonObject } from "./document.ts";
export {
  type ChunkIndexLocation,
  CONTAINERD_21_LAYER,
  CONTAINERD_LAYER,
  DATA_LAYER,
  EROFS_ANNOTATIONS,
  EROFS_ARTIFACT,
  EROFS_CHUNK_INDEX,
  EROFS_FEATURE,
  EROFS_LAYER,
  type ErofsImageLayers,
  type ErofsLayer,
  erofsImageLayers,
  erofsStackLayers,
  isErofsManifest,
  SOURCE_ANNOTATION,
  verityAnnotations,
  ZSTD_SUFFIX,
} from "./erofs-layers.ts";
export {
  type Descriptor,
  type Index,
  MAX_BLOB_BYTES,
  MAX_INDEX_ENTRIES,
  MAX_LAYERS,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseManifest,
} from "./manifest.ts";
export {
  type Compression,
  DOCKER_CONFIG,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isForeignLayer,
  isImageConfig,
  isIndex,
  isManifest,
  layerCompression,
  MANIFEST_TYPES,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-types.ts";
export { formatPlatform, normalPlatform, type Platform, parsePlatform, platformFit } from "./platform.ts";
export {
  type FittedPrefetch,
  fitPrefetchList,
  formatPrefetchList,
  formatPrefetchRanges,
  MAX_PREFETCH_BYTES,
  MAX_PREFETCH_RANGES,
  PREFETCH_ANNOTATION,
  type PrefetchList,
  type PrefetchRange,
  parsePrefetchList,
  prefetchListOf,
  prefetchOfManifest,
  prefetchRangesOf,
} from "./prefetch.ts";
export { DEFAULT_REGISTRY, DEFAULT_TAG, formatReference, parseReference, type Reference } from "./reference.ts";
export { imageEntries, offeredPlatforms, selectEntry, selectErofsEntry } from "./select.ts";
export { ioError, SourceError, type SourceErrorCode } from "./source-error.ts";
