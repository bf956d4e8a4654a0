/** What a layer may ask of memory: names in an archive compress a thousandfold, so a small download can hold millions. */
import { type ByteString, escapeBytes, FormatError } from "../../formats/bytes/index.ts";
import type { TarEntry } from "../../formats/tar/index.ts";

export interface LayerLimits {
  /** Inodes that the entries make, those of missing parents and marks included. Each takes about 500 bytes of memory. */
  readonly inodes: number;
  /** Names, link targets and extended attributes, in bytes. */
  readonly textBytes: number;
}

/** Twice what the largest images in use have, and with both reached some 2 GiB of memory: V8's limit on small machines. */
export const DEFAULT_LAYER_LIMITS: LayerLimits = { inodes: 4_000_000, textBytes: 256 << 20 };

/** Linux NAME_MAX, in bytes: longer names can neither be unpacked nor looked up. */
const NAME_MAX = 255;
/** Linux PATH_MAX less the NUL that it counts: no longer symlink can be made. */
const TARGET_MAX = 4095;

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
    if (entry.type === "symlink" && entry.linkPath.length > TARGET_MAX)
      throw tooLong(entry, "its link target", entry.linkPath, TARGET_MAX);
    this.textBytes += bytes;
    if (this.textBytes > this.limits.textBytes) throw this.tooMuch(entry);
  }

  /** Takes a name that becomes one of the tree's. @throws FormatError past a limit */
  addName(entry: TarEntry, name: ByteString): void {
    if (name.length > NAME_MAX) throw tooLong(entry, "a name in it", name, NAME_MAX);
    this.inodes++;
    this.textBytes += name.length;
    if (this.inodes > this.limits.inodes || this.textBytes > this.limits.textBytes) throw this.tooMuch(entry);
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
