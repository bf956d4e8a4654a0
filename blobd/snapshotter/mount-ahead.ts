import type { ChainMounts } from "./chain-mounts.ts";
import type { Snapshot, SnapshotTable } from "./state/index.ts";

/** How long after a layer its image is mounted unless a further layer comes, in ms: before a container wants it. */
const MOUNT_AHEAD_MS = 40;

/** Mounts images that were just unpacked, so that their first container need not wait for it. */
export class MountAhead {
  readonly #table: SnapshotTable;
  readonly #mounts: ChainMounts;
  readonly #onFailed: (error: unknown) => void;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(table: SnapshotTable, mounts: ChainMounts, onFailed: (error: unknown) => void) {
    this.#table = table;
    this.#mounts = mounts;
    this.#onFailed = onFailed;
  }

  /** An image is there to its last layer. */
  readonly image = (last: Snapshot): void => {
    this.#mounts.lowers(last).catch(this.#onFailed);
  };

  /** A layer was committed. It is the image's last one when no other follows. */
  readonly layer = (snapshot: Snapshot): void => {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const now = this.#table.byId(snapshot.id);
      if (now === undefined || this.#table.hasChildren(now.name)) return;
      this.#mounts.lowers(now).catch(this.#onFailed);
    }, MOUNT_AHEAD_MS).unref();
    this.#timers.add(timer);
  };

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}
