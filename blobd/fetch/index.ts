/** Chunks from where they are to where they are wanted: sources, limits, what is fetched when. */
export { ChunkFetcher, type FetchCounts, type FetchObserver } from "./chunk-fetcher.ts";
export { fetchChunkIndex } from "./chunk-index.ts";
export { FetchError, type FetchErrorCode } from "./errors.ts";
export { folderSource } from "./folder-source.ts";
export { registrySource, urlSource } from "./http-sources.ts";
export { Line } from "./line.ts";
export { DEFAULT_FETCH, type FetchOptions } from "./options.ts";
export type { BlobSource } from "./source.ts";
