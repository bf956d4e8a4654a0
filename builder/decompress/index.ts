/** Streaming decompression of layers: gzip and zstd, in parallel with the caller. */
export { type DecompressOptions, decompress } from "./decompress.ts";
export { type Compression, DETECT_BYTES, detectCompression } from "./detect.ts";
export type { Engine } from "./engines.ts";
