/** What a layer may ask of memory: names in an archive compress a thousandfold, so a small download can hold millions. */
import { getHeapStatistics } from "node:v8";
import { type ByteString, escapeBytes, FormatError } from "../../formats/bytes/index.ts";
import type { TarEntry } from "../../formats/tar/index.ts";

export interface LayerLimits {
  /** Inodes that the entries make, those of missing parents and marks included. Each takes about 500 bytes of memory. */
  readonly inodes: number;
  /** Names, link targets and extended attributes, in bytes. */
  readonly textBytes: number;
}

/** Several times what the largest layers in use have. With both reached, a conversion takes some 1.5 GiB of memory. */
export const DEFAULT_LAYER_LIMITS: LayerLimits = { inodes: 2_000_000, textBytes: 256 << 20 };

/** Each time that so many inodes were added, the heap is looked at: several layers may grow in one thread. */
const HEAP_CHECK_INODES = 1 << 16;
/** Most of the heap that may be in use meanwhile, garbage included: to write the metadata takes as much again. */
const MAX_HEAP_USE = 0.5;

/** Linux NAME_MAX, in bytes: longer names can neither be unpacked nor looked up. */
const NAME_MAX = 255;
/** Linux PATH_MAX less the NUL that it counts: no longer path can be asked for, and no longer symlink made. */
const PATH_MAX = 4095;

/** Counts what the entries of a layer ask for. */
export class LayerBudget {
  private readonly limits: LayerLimits;
  private inodes = 0;
  private textBytes = 0;

  constructor(limits: LayerLimits) {
    this.limits = limits;
  }

  /** Takes an entry's text. @throws FormatError past a limit */
  addEntry(entry: TarEntry): void {
    let bytes = entry.linkPath.length;
    for (const { name, value } of entry.xattrs) bytes += name.length + value.length;
    if (entry.path.length > PATH_MAX) throw tooLong(entry, "it", entry.path, PATH_MAX);
    if (entry.linkPath.length > PATH_MAX) throw tooLong(entry, "its link target", entry.linkPath, PATH_MAX);
    this.textBytes += bytes;
    if (this.textBytes > this.limits.textBytes) throw this.tooMuch(entry);
  }

  /** Takes a name that becomes one of the tree's. @throws FormatError past a limit */
  addName(entry: TarEntry, name: ByteString): void {
    if (name.length > NAME_MAX) throw tooLong(entry, "a name in it", name, NAME_MAX);
    this.inodes++;
    this.textBytes += name.length;
    if (this.inodes > this.limits.inodes || this.textBytes > this.limits.textBytes) throw this.tooMuch(entry);
    if (this.inodes % HEAP_CHECK_INODES === 0) this.checkHeap(entry);
  }

  /** Running out of memory would end the process without a word of why. */
  private checkHeap(entry: TarEntry): void {
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    if (used < limit * MAX_HEAP_USE) return;
    throw new FormatError(
      "ERR_UNSUPPORTED",
      "layer entry",
      entry.headerOffset,
      `${shown(entry.path)} is one of ${this.inodes} files and folders, for which the memory that Node.js may use ` +
        `(${Math.floor(limit / (1 << 20))} MiB) is too small; NODE_OPTIONS=--max-old-space-size=MIB raises it`,
    );
  }

  private tooMuch(entry: TarEntry): FormatError {
    const { inodes, textBytes } = this.limits;
    return new FormatError(
      "ERR_UNSUPPORTED",
      "layer entry",
      entry.headerOffset,
      `${shown(entry.path)} makes ${this.inodes} files and folders with ${this.textBytes} bytes of names, links and ` +
        `attributes, a layer may have ${inodes} with ${textBytes}`,
    );
  }
}

function tooLong(entry: TarEntry, what: string, text: ByteString, limit: number): FormatError {
  return new FormatError(
    "ERR_UNSUPPORTED",
    "layer entry",
    entry.headerOffset,
    `${shown(entry.path)}: ${what} has ${text.length} bytes, Linux takes ${limit}`,
  );
}

/** A path as errors show it: not all of a long one. */
function shown(path: ByteString): string {
  return path.length <= 200 ? escapeBytes(path) : `${escapeBytes(path.slice(0, 200))}…`;
}
