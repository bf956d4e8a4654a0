import { isImageLayer, type Snapshot, type SnapshotTable } from "./state/index.ts";

/**
 * What lies below a snapshot, as it is mounted:
 *
 *     directories   each of these is a lower directory of the overlay, topmost first
 *     base          this committed snapshot and all below it are one EROFS image
 *
 * Layers of images are EROFS and lie at the bottom; what was committed out of containers stays a directory, as it was
 * written, until an image's layer is put above it.
 */
export interface Chain {
  readonly directories: readonly Snapshot[];
  readonly base: Snapshot | null;
}

/**
 * Most directories in an overlay. mount(2) takes one page of options, and overlayfs 500 directories; when there are more,
 * the lowest ones are converted, by STEP so that it happens once in a while and not for every further layer.
 */
const MAX_DIRECTORIES = 48;
const STEP = 24;

/** The snapshots from `top` down. */
export function chainFrom(table: SnapshotTable, top: Snapshot): Snapshot[] {
  const chain: Snapshot[] = [];
  for (let at: Snapshot | undefined = top; at !== undefined; at = table.get(at.parent)) chain.push(at);
  return chain;
}

/** How what lies from `top` down is mounted. */
export function composeChain(table: SnapshotTable, top: Snapshot): Chain {
  const chain = chainFrom(table, top);
  const layerAt = chain.findIndex(isImageLayer);
  let directories = layerAt < 0 ? chain.length : layerAt;
  if (directories > MAX_DIRECTORIES) directories -= STEP * Math.ceil((directories - MAX_DIRECTORIES) / STEP);
  return { directories: chain.slice(0, directories), base: chain[directories] ?? null };
}

/** What `blobd serve` is asked for the image that is served from `top` down; null when none is. */
export function servedRequest(table: SnapshotTable, top: Snapshot): string | null {
  return servedBelow(table, top)?.remote?.request ?? null;
}

/** The nearest snapshot from `top` down whose image is served on demand: it covers all that is below. */
export function servedBelow(table: SnapshotTable, top: Snapshot): Snapshot | undefined {
  return chainFrom(table, top).find(({ remote }) => remote !== null && remote.request !== null);
}
