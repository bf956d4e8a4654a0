import { mkdirSync, rmdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConversionError, type ConverterPool, ERR_LAYER_GONE, type MergedChain } from "../conversion/index.ts";
import type { StoredFile } from "../store/index.ts";
import { mountErofs, SysError, unmount } from "../sys/index.ts";
import { chainFrom, composeChain } from "./chain.ts";
import type { Folders } from "./folders.ts";
import { ServiceError } from "./grpc/index.ts";
import type { LayerConversions } from "./layer-conversions.ts";
import type { Snapshot, SnapshotTable } from "./state/index.ts";
import { layersOf, type StoreHolds } from "./store-holds.ts";

/** What mounting needs of the rest. */
export interface ChainMountParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly holds: StoreHolds;
  readonly pool: ConverterPool;
  readonly conversions: LayerConversions;
  readonly storeRoot: string;
  /** Told how long it took, and whether the kernel reads files or loop devices. */
  readonly onMounted: (seconds: number, backing: "file" | "loop") => void;
}

/**
 * The images below snapshots, one EROFS mount for each that is needed. Containers hold on to such a mount by their own
 * overlay, so it can come and go here; it is looked for, and made if it is not there, whenever mounts are handed out.
 */
export class ChainMounts {
  readonly #parts: ChainMountParts;
  /** Mounts being made, by snapshot id. */
  readonly #pending = new Map<number, Promise<string>>();

  constructor(parts: ChainMountParts) {
    this.#parts = parts;
  }

  /**
   * Lower directories for an overlay over a committed snapshot, topmost first: mounted when this resolves.
   * @throws ServiceError, ConversionError, SysError, StoreError
   */
  async lowers(top: Snapshot): Promise<string[]> {
    const { table, folders } = this.#parts;
    const { directories, base } = composeChain(table, top);
    const paths = directories.map(({ id }) => folders.upper(id));
    if (base !== null) paths.push(await this.#ensure(base));
    return paths;
  }

  /** The same paths without mounting anything. */
  plannedLowers(top: Snapshot): string[] {
    const { table, folders } = this.#parts;
    const { directories, base } = composeChain(table, top);
    const paths = directories.map(({ id }) => folders.upper(id));
    return base === null ? paths : [...paths, folders.chain(base.id)];
  }

  /** Takes a snapshot's mount away, if there is one. Containers that use it keep it. @throws SysError */
  remove(id: number): void {
    const target = this.#parts.folders.chain(id);
    const found = statSync(target, { throwIfNoEntry: false });
    if (found === undefined) return;
    if (isMounted(target)) detach(target);
    rmdirSync(target);
  }

  #ensure(base: Snapshot): Promise<string> {
    const target = this.#parts.folders.chain(base.id);
    const pending = this.#pending.get(base.id);
    if (pending !== undefined) return pending;
    if (isMounted(target)) return Promise.resolve(target);
    const mounting = this.#mount(base, target).finally(() => this.#pending.delete(base.id));
    this.#pending.set(base.id, mounting);
    return mounting;
  }

  async #mount(base: Snapshot, target: string): Promise<string> {
    const startMs = performance.now();
    const { meta, blobs } = await this.#merged(base);
    if (this.#parts.table.byId(base.id) === undefined) {
      await this.#parts.holds.release([this.#parts.holds.snapshotKey(base.id)]);
      throw new ServiceError("not found", `snapshot ${base.name} was removed while it was mounted`);
    }
    const path = ({ digestHex }: StoredFile) => join(this.#parts.storeRoot, "blobs/sha256", digestHex);
    if (statSync(target, { throwIfNoEntry: false }) === undefined) mkdirSync(target, { mode: 0o700 });
    const backing = mountErofs({ metaPath: path(meta), devicePaths: blobs.map(path), target });
    this.#parts.onMounted((performance.now() - startMs) / 1000, backing);
    return target;
  }

  /** The merged image, in the store and held. A layer that is damaged there is converted again, once. */
  async #merged(base: Snapshot): Promise<MergedChain> {
    const repaired = new Set<string>();
    for (;;) {
      try {
        return await this.#merge(base);
      } catch (error) {
        if (!(error instanceof ConversionError) || error.code !== ERR_LAYER_GONE) throw error;
        const key = error.message;
        if (repaired.has(key)) throw error;
        repaired.add(key);
        await this.#repair(base, key);
      }
    }
  }

  async #merge(base: Snapshot): Promise<MergedChain> {
    const { table, pool, holds, storeRoot } = this.#parts;
    const layers: string[] = [];
    for (const snapshot of chainFrom(table, base).reverse()) layers.push(await this.#layerKey(snapshot));
    const now = this.#current(base);
    const chain = await pool.run({
      kind: "merge",
      store: storeRoot,
      layers,
      known: now.chain,
      holdLayers: layersOf(now),
      hold: { key: holds.snapshotKey(base.id), owner: holds.owner },
    });
    const after = table.byId(base.id);
    if (after !== undefined && !sameChain(after.chain, chain)) table.write([{ put: { ...after, chain } }]);
    return chain;
  }

  /** The layer that a snapshot is in a merge; a directory is converted for that. */
  async #layerKey(snapshot: Snapshot): Promise<string> {
    const key = snapshot.layer?.key ?? snapshot.convertedKey;
    if (key !== null) return key;
    const { table, pool, holds, folders, storeRoot } = this.#parts;
    const hold = { key: holds.snapshotKey(snapshot.id), owner: holds.owner };
    const result = await pool.run({ kind: "directory", store: storeRoot, path: folders.upper(snapshot.id), hold });
    table.write([{ put: { ...this.#current(snapshot), convertedKey: result.key } }]);
    return result.key;
  }

  /** Brings a layer back that the store has lost: out of its directory, or out of containerd's content. */
  async #repair(base: Snapshot, key: string): Promise<void> {
    const { table, conversions } = this.#parts;
    const lost = chainFrom(table, base).find(({ layer, convertedKey }) => (layer?.key ?? convertedKey) === key);
    if (lost === undefined) return;
    if (lost.layer !== null) {
      await conversions.convert(lost.layer, lost.layer.namespace);
      await conversions.taken(lost.layer.digest); // The snapshot's own hold names it still.
    } else table.write([{ put: { ...lost, convertedKey: null } }]);
  }

  #current({ id, name }: Snapshot): Snapshot {
    const now = this.#parts.table.byId(id);
    if (now === undefined) throw new ServiceError("not found", `snapshot ${name} was removed meanwhile`);
    return now;
  }
}

/** A mount shows another device than the directory it is in. */
function isMounted(path: string): boolean {
  const here = statSync(path, { throwIfNoEntry: false });
  return here !== undefined && here.dev !== statSync(dirname(path)).dev;
}

function detach(target: string): void {
  try {
    unmount(target);
  } catch (error) {
    if (!(error instanceof SysError) || error.code !== "EBUSY") throw error;
    unmount(target, { lazy: true });
  }
}

function sameChain(a: MergedChain | null, b: MergedChain): boolean {
  if (a === null || a.meta.digestHex !== b.meta.digestHex || a.blobs.length !== b.blobs.length) return false;
  return a.blobs.every(({ digestHex }, i) => digestHex === b.blobs[i]!.digestHex);
}
