import type { ByteString } from "../bytes/index.ts";
import type { Xattr } from "../tree/index.ts";

export type EntryType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";

/** A run of a sparse file that holds data, in bytes; what lies between the runs reads as zeros. */
export interface SparseSegment {
  readonly offset: number;
  readonly length: number;
}

/** One member of an archive, with everything its extended headers said already applied. */
export interface TarEntry {
  readonly type: EntryType;
  /** As it stands in the archive: not cleaned, possibly absolute, empty or with `..`; never with a NUL. */
  readonly path: ByteString;
  /** Symlink: its target. Hard link: the path of the earlier member. Else "". */
  readonly linkPath: ByteString;
  /** Permission bits only (07777). */
  readonly mode: number;
  /** 0 to 2^32 - 1. */
  readonly uid: number;
  readonly gid: number;
  /** File: its size in bytes, holes included. Other types: 0. */
  readonly size: number;
  /** Seconds since 1970, rounded down: half a second before 1970 is -1 and 500,000,000 ns. */
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  /** Device: its numbers. Else 0. */
  readonly devMajor: number;
  readonly devMinor: number;
  /** Sorted by name in byte order, names unique; NO_XATTRS when there are none. */
  readonly xattrs: readonly Xattr[];
  /** Sparse file: its data in order, without overlap and without empty runs. Null for every other entry. */
  readonly sparse: readonly SparseSegment[] | null;
  /** Where the entry's first header (PAX and long-name headers count) starts, in bytes from the start of the archive. */
  readonly headerOffset: number;
}

/** The one empty list that all entries without extended attributes share. */
export const NO_XATTRS: readonly Xattr[] = Object.freeze([]);

/**
 * Takes members in order: `entry`, for files with stored data any number of `data`, then `endEntry`, for every entry.
 * What a sink throws goes through to whoever pushed.
 */
export interface EntrySink {
  entry(entry: TarEntry): void;
  /**
   * The next stored bytes of the file: `bytes[start..end)`, a view that is only valid during the call. For a sparse file
   * these are its segments' bytes one after the other.
   */
  data(bytes: Uint8Array, start: number, end: number): void;
  endEntry(): void;
}
