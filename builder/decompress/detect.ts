export type Compression = "none" | "gzip" | "zstd";

/** How many bytes `detectCompression` looks at. */
export const DETECT_BYTES = 4;

/**
 * The compression of a stream by its first bytes: gzip (1F 8B), a zstd frame (28 B5 2F FD) or a skippable zstd frame
 * (5x 2A 4D 18, as zstd:chunked and seekable zstd may start with). Anything else is `none`; fewer than DETECT_BYTES bytes
 * are enough for gzip only.
 */
export function detectCompression(firstBytes: Uint8Array): Compression {
  const [a, b, c, d] = firstBytes;
  if (a === 0x1f && b === 0x8b) return "gzip";
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return "zstd";
  if (a !== undefined && (a & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18) return "zstd";
  return "none";
}
