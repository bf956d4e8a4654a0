import { StoreError } from "./errors.ts";
import type { PruneResult } from "./prune.ts";
import type { Store } from "./store.ts";

export interface EvictOptions {
  /** What the store's blobs, complete ones and others, may take of the disk, in bytes. */
  readonly maxBytes: number;
  /** Keys of images that stay whatever `maxBytes` says. */
  readonly keepImages?: ReadonlySet<string>;
}

export interface EvictResult {
  /** Keys of the blobs that were not complete and are gone. */
  readonly partials: readonly string[];
  /** What of complete blobs is gone; undefined when that was not needed, or somebody else uses the store. */
  readonly pruned: PruneResult | undefined;
  readonly freedBytes: number;
  /** What stays, in bytes of disk. More than `maxBytes` when the rest is in use. */
  readonly keptBytes: number;
}

/** See Store.evict. */
export async function evict(store: Store, { maxBytes, keepImages }: EvictOptions): Promise<EvictResult> {
  const infos = store.partials.list();
  let partialBytes = infos.reduce((sum, { diskBytes }) => sum + diskBytes, 0);
  const blobs = await store.prune({ dryRun: true });
  let blobBytes = blobs.freedBytes + blobs.keptBytes;
  const before = partialBytes + blobBytes;
  const partials: string[] = [];
  for (const { key, diskBytes } of infos) {
    if (partialBytes + blobBytes <= maxBytes) break;
    if (!(await store.partials.remove(key))) continue;
    partials.push(key);
    partialBytes -= diskBytes;
  }
  let pruned: PruneResult | undefined;
  if (partialBytes + blobBytes > maxBytes) {
    try {
      const limit = Math.max(0, maxBytes - partialBytes);
      pruned = await store.prune({ maxBytes: limit, ...(keepImages && { keepImages }) });
      blobBytes = pruned.keptBytes;
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "ERR_STORE_BUSY") throw error;
    }
  }
  const keptBytes = partialBytes + blobBytes;
  return { partials, pruned, freedBytes: before - keptBytes, keptBytes };
}
