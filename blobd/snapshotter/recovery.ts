import { rmSync } from "node:fs";
import type { ChainMounts } from "./chain-mounts.ts";
import type { Folders } from "./folders.ts";
import type { Snapshot, SnapshotTable } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";

export interface RecoveryParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly holds: StoreHolds;
  readonly mounts: ChainMounts;
  readonly onWarning: (message: string, error: unknown) => void;
}

/**
 * Removes what belongs to no snapshot: folders, mounts and holds that a killed process left between two steps, and what
 * could not be removed before. Nothing that a snapshot of the table has is touched.
 *
 * @param everything also what a call in work may just be making; only before the first call
 */
export async function sweep(parts: RecoveryParts, everything: boolean): Promise<void> {
  const { table, folders, holds, mounts, onWarning } = parts;
  const attempt = (what: string, work: () => void) => {
    try {
      work();
    } catch (error) {
      onWarning(`${what} is not removed`, error);
    }
  };
  for (const id of folders.idsIn("chains"))
    if (table.byId(id) === undefined) attempt(`the mount of snapshot ${id}`, () => mounts.remove(id));
  if (everything) {
    folders.emptyTmp();
    for (const id of folders.idsIn("snapshots"))
      if (table.byId(id) === undefined) attempt(`snapshot ${id}`, () => folders.trashSnapshot(id));
    await releaseStrayHolds(table, holds);
  }
  await folders.emptyTrash();
}

async function releaseStrayHolds(table: SnapshotTable, holds: StoreHolds): Promise<void> {
  const ours = new Set([...table.all()].flatMap(({ id }) => holds.keysOf(id)));
  const stray = (await holds.list()).filter((key) => !ours.has(key));
  if (stray.length > 0) await holds.release(stray);
}

/** Brings back the holds of snapshots, should somebody have removed them, and finishes commits that were broken off. */
export async function restoreHolds({ table, folders, holds, onWarning }: RecoveryParts): Promise<void> {
  const held = new Set(await holds.list());
  for (const snapshot of [...table.all()]) {
    if (snapshot.layer !== null && snapshot.kind === "committed")
      rmSync(folders.snapshot(snapshot.id), { recursive: true, force: true });
    if (needsHold(snapshot) && !held.has(holds.snapshotKey(snapshot.id)))
      await holds.holdSnapshot(snapshot).catch((error) => onWarning(`snapshot ${snapshot.id} holds nothing`, error));
  }
}

/**
 * Mounts again what lies below containers that may be started again. It takes a while when there are many, and whoever
 * wants one before its turn gets it at once. Ends with `signal`: what is missing then, the next start mounts.
 */
export async function restoreMounts(
  { table, mounts, onWarning }: RecoveryParts,
  skip: (snapshot: Snapshot) => boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const snapshot of [...table.all()]) {
    if (signal.aborted) return;
    const needed = snapshot.kind !== "committed" && !skip(snapshot);
    const parent = needed ? table.get(snapshot.parent) : undefined;
    if (parent === undefined) continue;
    await mounts.lowers(parent).catch((error) => onWarning(`${snapshot.name} cannot be mounted`, error));
  }
}

function needsHold({ layer, convertedKey, chain }: Snapshot): boolean {
  return layer !== null || convertedKey !== null || chain !== null;
}
