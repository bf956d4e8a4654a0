import type { StoredFile } from "../../blobd/store/index.ts";
import { type Digest, fitPrefetchList, type PrefetchList } from "../../formats/oci/index.ts";

/** A list as far as it is of these blobs, each range cut to its blob. */
export function prefetchOf(files: readonly StoredFile[], list: PrefetchList): PrefetchList {
  const blobs = files.map(({ digestHex }): Digest => `sha256:${digestHex}`);
  const ranges = fitPrefetchList(list, blobs)
    .ranges.map(({ blob, offset, bytes }) => ({ blob, offset, bytes: Math.min(bytes, files[blob]!.size - offset) }))
    .filter(({ bytes }) => bytes > 0);
  return { blobs, ranges };
}
