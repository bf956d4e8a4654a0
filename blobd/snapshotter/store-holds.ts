import { recordKey, Store } from "../store/index.ts";
import type { Snapshot } from "./state/index.ts";

/**
 * What the snapshotter holds in the store: for each snapshot the layer that was applied to it and the files of its
 * mount; for each layer in conversion its result, until a snapshot takes it over.
 */
export class StoreHolds {
  readonly #storeRoot: string;
  readonly owner: string;
  readonly #onWarning: (message: string) => void;

  constructor(storeRoot: string, snapshotterRoot: string, onWarning: (message: string) => void) {
    this.#storeRoot = storeRoot;
    this.owner = `snapshotter ${snapshotterRoot}`;
    this.#onWarning = onWarning;
  }

  snapshotKey(id: number): string {
    return recordKey({ owner: this.owner, snapshot: id });
  }

  /** Of a snapshot's image as one file. */
  flatKey(id: number): string {
    return recordKey({ owner: this.owner, flat: id });
  }

  /** Of a snapshot's layers as images for overlayfs. */
  layersKey(id: number): string {
    return recordKey({ owner: this.owner, layers: id });
  }

  /** All holds that a snapshot may have. */
  keysOf(id: number): string[] {
    return [this.snapshotKey(id), this.flatKey(id), this.layersKey(id)];
  }

  conversionKey(layerDigest: string): string {
    return recordKey({ owner: this.owner, conversion: layerDigest });
  }

  /** Holds what a snapshot needs: nothing that it is made of may be given back before. @throws StoreError */
  async holdSnapshot(snapshot: Snapshot): Promise<void> {
    const layers = layersOf(snapshot);
    const { chain } = snapshot;
    const files = chain === null ? [] : [chain.meta, ...chain.blobs].map(({ digestHex }) => digestHex);
    await this.#use((store) => store.putHold(this.snapshotKey(snapshot.id), { owner: this.owner, layers, files }));
  }

  /** Gives holds back. @throws StoreError */
  async release(keys: readonly string[]): Promise<void> {
    await this.#use((store) => {
      for (const key of keys) store.removeHold(key);
    });
  }

  /** The keys of all holds of ours. @throws StoreError */
  list(): Promise<string[]> {
    return this.#use((store) =>
      store
        .listHolds()
        .filter(({ owner }) => owner === this.owner)
        .map(({ key }) => key),
    );
  }

  /** The store is open only for a moment: a prune needs it for itself. */
  async #use<T>(work: (store: Store) => T): Promise<T> {
    const store = await Store.open(this.#storeRoot, { onWarning: this.#onWarning });
    try {
      return work(store);
    } finally {
      store.close();
    }
  }
}

/** Keys of the layers that a snapshot itself brought into the store. */
export function layersOf({ layer, convertedKey }: Pick<Snapshot, "layer" | "convertedKey">): string[] {
  return [layer?.key, convertedKey].filter((key) => typeof key === "string");
}
