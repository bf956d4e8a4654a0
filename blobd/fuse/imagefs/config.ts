/** An image that is served as a tree of files. A plain description. */
export interface ImageConfig {
  readonly kind: "image";
  /** The image's own file: an EROFS image. */
  readonly metaPath: string;
  /** Its blobs, in the order of its device table; none for a flat image. */
  readonly devicePaths: readonly string[];
  /** The store of which `blobd serve` shows devices that are not there as a whole: what is read of them comes first. */
  readonly lazyStore?: string;
  /** Which files the guest is told to map: none, those of `daxThresholdBytes` and more, or all. `never` by default. */
  readonly dax?: "never" | "inode" | "always";
  readonly daxThresholdBytes?: number;
  /**
   * Maps the blobs, though a VMM maps for writing whatever is asked: it trusts the guest not to write to what all guests
   * of this host share. Without it nothing is mapped.
   */
  readonly daxTrusted?: boolean;
}

/** Below this a file is read faster than mapped. */
const DAX_THRESHOLD_BYTES = 64 << 10;

/** From which size on files are mapped; null when none is. @throws RangeError */
export function daxFrom({
  dax = "never",
  daxThresholdBytes = DAX_THRESHOLD_BYTES,
  daxTrusted = false,
}: Pick<ImageConfig, "dax" | "daxThresholdBytes" | "daxTrusted">): number | null {
  if (!(Number.isSafeInteger(daxThresholdBytes) && daxThresholdBytes >= 0))
    throw new RangeError(`daxThresholdBytes: found ${daxThresholdBytes}, expected 0 or more`);
  if (dax === "never" || !daxTrusted) return null;
  return dax === "always" ? 0 : daxThresholdBytes;
}
