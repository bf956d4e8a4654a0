/** What an archive may ask for before it is refused. Lengths are in bytes. */
export interface TarLimits {
  /** Body of one PAX header (`x` or `g`). Held in memory. 1 MiB, as in Go's archive/tar and libarchive. */
  readonly paxBytes: number;
  /** A path or link target, also as the body of a GNU `L` or `K` header. Linux stops at 4096 (PATH_MAX). */
  readonly pathBytes: number;
  /** Name of an extended attribute. Linux XATTR_NAME_MAX. */
  readonly xattrNameBytes: number;
  /** Value of an extended attribute. Linux XATTR_SIZE_MAX. */
  readonly xattrValueBytes: number;
  /** Names of one entry's extended attributes, one more byte for each. Linux XATTR_LIST_MAX. */
  readonly xattrListBytes: number;
  /** Number of extended attributes that global headers give to all entries: each entry pays for them again. */
  readonly globalXattrs: number;
  /** Entries of one sparse map. Held in memory. About what Go's 1 MiB per map can hold. */
  readonly sparseSegments: number;
}

export const DEFAULT_TAR_LIMITS: TarLimits = {
  paxBytes: 1 << 20,
  pathBytes: 65536,
  xattrNameBytes: 255,
  xattrValueBytes: 65536,
  xattrListBytes: 65536,
  globalXattrs: 64,
  sparseSegments: 1 << 18,
};
