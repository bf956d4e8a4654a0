/** Files that are shown side by side, read-only: an image's metadata and its blobs. A plain description. */
export interface BlobsConfig {
  readonly kind: "blobs";
  readonly files: readonly BlobEntry[];
  /** Tells the guest to map them; with `daxTrusted` only, as for images. `never` by default. */
  readonly dax?: "never" | "inode" | "always";
  readonly daxTrusted?: boolean;
}

export interface BlobEntry {
  /** As it is called in the directory: 1 to 255 bytes without a slash. */
  readonly name: string;
  readonly path: string;
}

/** Most files: as many as an image has devices. */
const MAX_FILES = 4097;
const NAME_BYTES = 255;

/** @throws RangeError for names that no directory has */
export function checkBlobs({ files }: BlobsConfig): void {
  if (files.length > MAX_FILES) throw new RangeError(`files: found ${files.length}, expected at most ${MAX_FILES}`);
  const names = new Set<string>();
  for (const { name } of files) {
    const bytes = Buffer.byteLength(name);
    const isName = bytes > 0 && bytes <= NAME_BYTES && !/[/\0]/.test(name) && name !== "." && name !== "..";
    if (!isName || names.has(name)) throw new RangeError(`name ${JSON.stringify(name)}: no name, or twice`);
    names.add(name);
  }
}
