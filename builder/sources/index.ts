/**
 * Where images come from: registries, OCI layouts, Docker archives, tar files, directories.
 *
 * @example
 *   const image = await resolveImage(parseSource("alpine:3.20"));
 *   for (const layer of image.layers) for await (const chunk of openLayer(image, layer)) …
 */
export { DEFAULT_RETRY, type RetryPolicy, SourceError, type SourceErrorCode } from "../../blobd/registry/index.ts";
export { readFileRange } from "./file-range.ts";
export type { LayerInfo, ResolvedImage } from "./image.ts";
export { type LayerOrigin, openLayer } from "./open.ts";
export type { ReadOptions } from "./options.ts";
export { releaseImage, resolveImage } from "./resolve.ts";
export { type WalkOptions, walkDirectory } from "./walk.ts";
