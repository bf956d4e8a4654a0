/**
 * Tar archives, byte-exact, as a stream. Reading: v7, ustar, PAX, GNU and star headers, GNU sparse files in all four
 * forms, extended attributes. Pure: bytes are pushed in, entries come out at an EntrySink.
 */
export { type EntrySink, type EntryType, NO_XATTRS, type SparseSegment, type TarEntry } from "./entry.ts";
export { DEFAULT_TAR_LIMITS, type TarLimits } from "./limits.ts";
export { TarReader } from "./reader.ts";
export { TarWriter } from "./writer.ts";
