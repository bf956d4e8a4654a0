import { ConversionError, type ConverterPool, ERR_LAYER_GONE, type MergedChain } from "../conversion/index.ts";
import { chainFrom, servedBelow } from "./chain.ts";
import type { Folders } from "./folders.ts";
import { ServiceError } from "./grpc/index.ts";
import type { LayerConversions } from "./layer-conversions.ts";
import type { ServedImage } from "./remote/index.ts";
import type { RemoteLayer, Snapshot, SnapshotTable } from "./state/index.ts";
import { layersOf, type StoreHolds } from "./store-holds.ts";

export interface ChainsParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly holds: StoreHolds;
  readonly pool: ConverterPool;
  readonly conversions: LayerConversions;
  readonly storeRoot: string;
}

/** The images that snapshots are: their layers merged into one. */
export class Chains {
  readonly #parts: ChainsParts;

  constructor(parts: ChainsParts) {
    this.#parts = parts;
  }

  /**
   * The image, in the store and held. A layer that is damaged there is converted again, once.
   * @param served the image at its bottom, when that is served on demand
   * @throws ServiceError, ConversionError, StoreError
   */
  async merged(base: Snapshot, served: ServedImage | null): Promise<MergedChain> {
    const bottom = served === null ? undefined : servedBelow(this.#parts.table, base);
    if (served !== null && bottom?.id === base.id) return served.chain;
    return this.#repairing(base, () => this.#merge(base, bottom, served?.chain));
  }

  /**
   * Its layers as images for overlayfs to put together, topmost first; what is served on demand is one, the last. All in one
   * when a layer has hard links to another's files, which overlayfs does not put together.
   * @throws as `merged`
   */
  async layers(base: Snapshot, served: ServedImage | null): Promise<readonly MergedChain[]> {
    const { table, pool, holds, storeRoot } = this.#parts;
    const bottom = served === null ? undefined : servedBelow(table, base);
    const below = served?.chain;
    if (below !== undefined && bottom?.id === base.id) return [below];
    try {
      const layers = await this.#repairing(base, async () =>
        pool.run({
          kind: "standalone",
          store: storeRoot,
          below,
          layers: await this.#layerKeys(base, bottom),
          hold: { key: holds.layersKey(base.id), owner: holds.owner },
        }),
      );
      // As with a mount: nobody would give this hold back.
      if (table.byId(base.id) === undefined) await holds.release([holds.layersKey(base.id)]);
      return [...(below === undefined ? [] : [below]), ...layers].reverse();
    } catch (error) {
      if (!(error instanceof ConversionError) || error.code !== "ERR_UNSUPPORTED") throw error;
      return [await this.merged(base, served)];
    }
  }

  async #repairing<T>(base: Snapshot, work: () => Promise<T>): Promise<T> {
    const repaired = new Set<string>();
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof ConversionError) || error.code !== ERR_LAYER_GONE) throw error;
        const key = error.message;
        if (repaired.has(key)) throw error;
        repaired.add(key);
        await this.#repair(base, key);
      }
    }
  }

  async #merge(base: Snapshot, bottom: Snapshot | undefined, below: MergedChain | undefined): Promise<MergedChain> {
    const { table, pool, holds, storeRoot } = this.#parts;
    const layers = await this.#layerKeys(base, bottom);
    const now = this.#current(base);
    const chain = await pool.run({
      kind: "merge",
      store: storeRoot,
      below,
      layers,
      known: now.chain,
      holdLayers: layersOf(now),
      hold: { key: holds.snapshotKey(base.id), owner: holds.owner },
    });
    const after = table.byId(base.id);
    if (after !== undefined && !sameChain(after.chain, chain)) table.write([{ put: { ...after, chain } }]);
    return chain;
  }

  /** Of `base` and what lies below it, down to what is above `bottom`; lowest first. */
  async #layerKeys(base: Snapshot, bottom: Snapshot | undefined): Promise<string[]> {
    const all = chainFrom(this.#parts.table, base);
    const end = bottom === undefined ? all.length : all.findIndex(({ id }) => id === bottom.id);
    const keys: string[] = [];
    for (const snapshot of all.slice(0, end).reverse()) keys.push(await this.#layerKey(snapshot));
    return keys;
  }

  /** The layer that a snapshot is in a merge; a directory is converted for that, and what was not pulled is fetched. */
  async #layerKey(snapshot: Snapshot): Promise<string> {
    const key = snapshot.layer?.key ?? snapshot.convertedKey;
    if (key !== null) return key;
    const { table, pool, holds, folders, storeRoot } = this.#parts;
    if (snapshot.remote !== null) return this.#fetch(snapshot, snapshot.remote);
    const hold = { key: holds.snapshotKey(snapshot.id), owner: holds.owner };
    const result = await pool.run({ kind: "directory", store: storeRoot, path: folders.upper(snapshot.id), hold });
    table.write([{ put: { ...this.#current(snapshot), convertedKey: result.key } }]);
    return result.key;
  }

  /** Makes a layer that was not pulled one that is here: something needs it without those above it. */
  async #fetch(snapshot: Snapshot, remote: RemoteLayer): Promise<string> {
    const { table, conversions, holds } = this.#parts;
    const { digest, size, compression } = remote;
    const { key, tar } = await conversions.fetch(remote);
    // Its namespace has no such content: it is fetched again when the store loses it.
    const layer = { digest, size, compression, key, tar, namespace: "" };
    const after = { ...this.#current(snapshot), layer };
    await holds.holdSnapshot(after);
    table.write([{ put: after }]);
    await conversions.taken(digest);
    return key;
  }

  /** Brings a layer back that the store has lost: out of its directory, or out of containerd's content. */
  async #repair(base: Snapshot, key: string): Promise<void> {
    const { table, conversions } = this.#parts;
    const lost = chainFrom(table, base).find(({ layer, convertedKey }) => (layer?.key ?? convertedKey) === key);
    if (lost === undefined) return;
    if (lost.layer !== null) {
      if (lost.remote !== null) await conversions.fetch(lost.remote);
      else await conversions.convert(lost.layer, lost.layer.namespace);
      await conversions.taken(lost.layer.digest); // The snapshot's own hold names it still.
    } else table.write([{ put: { ...lost, convertedKey: null } }]);
  }

  #current({ id, name }: Snapshot): Snapshot {
    const now = this.#parts.table.byId(id);
    if (now === undefined) throw new ServiceError("not found", `snapshot ${name} was removed meanwhile`);
    return now;
  }
}

function sameChain(a: MergedChain | null, b: MergedChain): boolean {
  if (a === null || a.meta.digestHex !== b.meta.digestHex || a.blobs.length !== b.blobs.length) return false;
  return a.blobs.every(({ digestHex }, i) => digestHex === b.blobs[i]!.digestHex);
}
