import { chownSync, lstatSync, rmSync } from "node:fs";
import { imageRoot } from "../images/index.ts";
import { realtimeNanos } from "../sys/index.ts";
import { fieldsOf, NO_PARENT, NO_USAGE, NOTHING_BELOW } from "./blank-snapshot.ts";
import { chainFrom, composeChain } from "./chain.ts";
import type { ChainMounts } from "./chain-mounts.ts";
import type { Caller } from "./content-client.ts";
import { copyRoot } from "./copy-root.ts";
import { parseFilters } from "./filters/index.ts";
import type { Folders } from "./folders.ts";
import { type Mount, ServiceError } from "./grpc/index.ts";
import { mappedRoot } from "./id-map.ts";
import { EXTRACTION, type Labels, placeOf, SNAPSHOT_REF, withoutEmpty } from "./labels.ts";
import { activeMount, idMapOptions, layerMount, viewMount } from "./mount-plan.ts";
import type { RemoteFound, RemoteImages } from "./remote/index.ts";
import { isImageLayer, MAX_NAME_BYTES, type Snapshot, type SnapshotTable, type Usage } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";
import { diskUsage } from "./usage.ts";
import type { VmImages } from "./vm-images.ts";

export interface SnapshotsParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly holds: StoreHolds;
  readonly mounts: ChainMounts;
  readonly vm: VmImages;
  /** Images that need no pull; null: all are pulled. */
  readonly remotes: RemoteImages | null;
  readonly onWarning: (message: string, error: unknown) => void;
  /** An image is there to its last layer: what is mounted over it may be wanted soon. */
  readonly onImage: (last: Snapshot) => void;
  /** A layer was committed of which it is not known whether it is the last one. */
  readonly onLayer: (snapshot: Snapshot) => void;
}

/**
 * The snapshots of containerd: what it asks of a snapshotter (its core/snapshots/snapshotter.go tells the rules), on EROFS
 * images and overlays. Every change is on the disk before it is answered; what a kill leaves between two steps is cleaned
 * up by the next start (recovery.ts).
 */
export class Snapshots {
  readonly #parts: SnapshotsParts;
  /** Names that calls in work are about to give. */
  readonly #taking = new Set<string>();

  constructor(parts: SnapshotsParts) {
    this.#parts = parts;
  }

  /**
   * A snapshot to write to.
   * @throws ServiceError and what mounting throws. "already exists" with a layer's label also when the layer's image is served
   *   on demand: the layer is a committed snapshot then, which the caller finds by that label
   */
  prepare(key: string, parent: string, labels: Labels, caller: Caller | null): Promise<Mount[]> {
    return this.#taken(key, async () => {
      const chainId = labels[SNAPSHOT_REF];
      if (chainId !== undefined && caller !== null && (await this.#isRemote(chainId, parent, labels, caller)))
        throw new ServiceError("already exists", `snapshot ${chainId} is served on demand`);
      return this.#create("active", key, parent, labels);
    });
  }

  /** A snapshot to read. */
  view(key: string, parent: string, labels: Labels): Promise<Mount[]> {
    return this.#taken(key, () => this.#create("view", key, parent, labels));
  }

  /** How an active snapshot or view is mounted; what lies below is mounted again if need be. */
  async mounts(key: string): Promise<Mount[]> {
    const snapshot = this.#get(key);
    if (snapshot.kind === "committed")
      throw new ServiceError("failed precondition", `snapshot ${key} is committed, only others have mounts`);
    return await this.#mountsOf(snapshot, await this.#lowersOf(snapshot));
  }

  /** Makes an active snapshot one that others can build on. */
  commit(name: string, key: string, labels: Labels): Promise<void> {
    return this.#taken(name, () => this.#commit(name, key, labels));
  }

  /** Removes a snapshot that nothing is built on. What it held on disk and in the store is given back. */
  async remove(key: string): Promise<void> {
    const { table } = this.#parts;
    const snapshot = this.#get(key);
    if (table.hasChildren(key))
      throw new ServiceError("failed precondition", `cannot remove snapshot ${key}: another is built on it`);
    table.write([{ remove: key }]);
    await this.#discard(snapshot);
  }

  stat(key: string): Snapshot {
    return this.#get(key);
  }

  /** What a snapshot itself takes on the disk. */
  async usage(key: string): Promise<Usage> {
    const snapshot = this.#get(key);
    return snapshot.kind === "active" && snapshot.layer === null
      ? await diskUsage(this.#parts.folders.upper(snapshot.id))
      : snapshot.usage;
  }

  /** Changes labels: those that the paths name, or without paths all. @throws ServiceError */
  update(name: string, labels: Labels, paths: readonly string[]): Snapshot {
    const before = this.#get(name);
    let after: Record<string, string> = paths.length === 0 ? { ...labels } : { ...before.labels };
    for (const path of paths) {
      const label = path.startsWith("labels.") ? path.slice("labels.".length) : null;
      if (label !== null) after[label] = labels[label] ?? "";
      else if (path === "labels") after = { ...labels };
      else throw new ServiceError("invalid argument", `cannot update field ${path} of snapshot ${name}`);
    }
    const snapshot = { ...before, labels: withoutEmpty(after), updatedNs: realtimeNanos() };
    this.#parts.table.write([{ put: snapshot }]);
    return snapshot;
  }

  /** All snapshots that one of the filters matches. @throws FilterError */
  *list(filters: readonly string[]): Generator<Snapshot> {
    const matches = parseFilters(filters);
    for (const snapshot of [...this.#parts.table.all()]) if (matches(fieldsOf(snapshot))) yield snapshot;
  }

  /** Whether the snapshot is there to have a layer put into it, and nothing is in it yet. */
  isExtraction(snapshot: Snapshot): boolean {
    return snapshot.kind === "active" && (EXTRACTION.test(snapshot.name) || SNAPSHOT_REF in snapshot.labels);
  }

  /** Whether the layer needs no pull; it is a snapshot then. */
  async #isRemote(chainId: string, parent: string, labels: Labels, caller: Caller): Promise<boolean> {
    const { table, remotes } = this.#parts;
    if (remotes === null) return false;
    const isIt = (one: Snapshot) =>
      one.remote !== null && one.parent === parent && one.labels[SNAPSHOT_REF] === chainId;
    for (const snapshot of table.all()) if (isIt(snapshot)) return true;
    const found = await remotes.layerOf(chainId, labels, caller);
    if (found === null) return false;
    await this.#addRemote(chainId, parent, labels, found);
    return true;
  }

  async #addRemote(chainId: string, parent: string, labels: Labels, { remote, chain }: RemoteFound): Promise<void> {
    const { table, holds, onImage } = this.#parts;
    this.#parent(parent);
    const id = table.nextId();
    const nowNs = realtimeNanos();
    const snapshot: Snapshot = {
      ...NO_PARENT,
      id,
      name: `served/${id}/${chainId}`,
      parent,
      labels: withoutEmpty(labels),
      createdNs: nowNs,
      updatedNs: nowNs,
      remote,
      chain,
    };
    table.rememberServed((chain?.blobs ?? []).map(({ digestHex }) => digestHex));
    if (chain !== null) await holds.holdSnapshot(snapshot);
    this.#parent(parent); // It may have gone meanwhile.
    table.write([{ put: snapshot }]);
    if (chain !== null) onImage(snapshot);
  }

  async #create(kind: "active" | "view", key: string, parentName: string, labels: Labels): Promise<Mount[]> {
    const { table, folders } = this.#parts;
    this.#parent(parentName);
    const root = mappedRoot(labels);
    const nowNs = realtimeNanos();
    const snapshot: Snapshot = {
      id: table.nextId(),
      name: key,
      parent: parentName,
      kind,
      labels: withoutEmpty(labels),
      createdNs: nowNs,
      updatedNs: nowNs,
      usage: NO_USAGE,
      ...NOTHING_BELOW,
    };
    const lowers = await this.#lowersOf(snapshot);
    const mounts = await this.#mountsOf(snapshot, lowers);
    this.#parent(parentName); // It may have gone while its image was mounted.
    folders.makeSnapshot(snapshot.id, kind === "active");
    try {
      const upper = folders.upper(snapshot.id);
      if (kind === "active") {
        const [first] = mounts;
        if (lowers?.[0] !== undefined) copyRoot(lstatSync(lowers[0]), upper);
        else if (first?.type === "erofs") copyRoot(imageRoot(first.source), upper);
      }
      if (root !== null) chownSync(upper, root.uid, root.gid);
      table.write([{ put: snapshot }]);
    } catch (error) {
      rmSync(folders.snapshot(snapshot.id), { recursive: true, force: true });
      throw error;
    }
    return mounts;
  }

  /** Lower directories, mounted; null when a differ of ours puts a layer there and needs none. */
  async #lowersOf(snapshot: Snapshot): Promise<string[] | null> {
    if (snapshot.parent === "") return [];
    const parent = this.#parent(snapshot.parent);
    if (this.isExtraction(snapshot) && this.#isAllLayers(parent)) return null;
    if (this.#parts.vm.formOf(snapshot) !== null) return [];
    return await this.#parts.mounts.lowers(parent);
  }

  #isAllLayers(top: Snapshot): boolean {
    const { table } = this.#parts;
    return composeChain(table, top).directories.length === 0 && chainFrom(table, top).every(isImageLayer);
  }

  async #mountsOf(snapshot: Snapshot, lowers: readonly string[] | null): Promise<Mount[]> {
    const { folders, vm } = this.#parts;
    const { id } = snapshot;
    const idMap = idMapOptions(snapshot.labels);
    if (lowers === null) return [layerMount(folders.upper(id))];
    const form = vm.formOf(snapshot);
    if (form !== null) return await vm.mounts(snapshot, this.#parent(snapshot.parent), form);
    if (snapshot.kind === "view") return [viewMount(lowers.length === 0 ? [folders.upper(id)] : lowers, idMap)];
    return [activeMount({ upper: folders.upper(id), work: folders.work(id) }, lowers, idMap)];
  }

  async #commit(name: string, key: string, labels: Labels): Promise<void> {
    const { table, folders } = this.#parts;
    const usage = await this.#committedUsage(this.#active(key));
    const active = this.#active(key); // It may have changed or gone meanwhile.
    const nowNs = realtimeNanos();
    const committed: Snapshot = {
      ...active,
      name,
      kind: "committed",
      labels: withoutEmpty(labels),
      createdNs: nowNs,
      updatedNs: nowNs,
      usage,
    };
    table.write([{ remove: key }, { put: committed }]);
    if (committed.layer === null) return;
    // The layer is in the store: the directory that was made for it is not needed any more.
    this.#attempt(`snapshot ${committed.id}`, () => folders.trashSnapshot(committed.id));
    // What is said to be the last one was told of when it was applied.
    if (placeOf(active.labels) === "unknown") this.#parts.onLayer(committed);
  }

  #committedUsage(active: Snapshot): Usage | Promise<Usage> {
    return active.layer === null ? diskUsage(this.#parts.folders.upper(active.id)) : active.usage;
  }

  /** Gives back what a removed snapshot had. What fails here is tried again by `Cleanup` and by the next start. */
  async #discard({ id, remote }: Snapshot): Promise<void> {
    const { folders, mounts, holds } = this.#parts;
    this.#attempt(`mount of snapshot ${id}`, () => mounts.remove(id));
    if (remote !== null && remote.request !== null) mounts.letGo(remote.request);
    this.#attempt(`files of snapshot ${id}`, () => folders.trashSnapshot(id));
    await holds.release(holds.keysOf(id)).catch((error) => {
      this.#parts.onWarning(`hold of snapshot ${id} is not given back`, error);
    });
    folders.emptyTrash().catch((error) => this.#parts.onWarning("removed snapshots are not deleted", error));
  }

  #attempt(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#parts.onWarning(`${what} is not removed`, error);
    }
  }

  #get(key: string): Snapshot {
    const snapshot = this.#parts.table.get(key);
    if (snapshot === undefined) throw new ServiceError("not found", `snapshot ${key} does not exist`);
    return snapshot;
  }

  #active(key: string): Snapshot {
    const snapshot = this.#get(key);
    if (snapshot.kind === "active") return snapshot;
    throw new ServiceError("failed precondition", `snapshot ${key} is not active but ${snapshot.kind}`);
  }

  #parent(name: string): Snapshot {
    if (name === "") return NO_PARENT;
    const parent = this.#parts.table.get(name);
    if (parent === undefined) throw new ServiceError("not found", `parent snapshot ${name} does not exist`);
    if (parent.kind === "committed") return parent;
    throw new ServiceError("invalid argument", `parent ${name} is not committed but ${parent.kind}`);
  }

  /** Runs `work` with a name that nothing has and no other call is about to give. */
  async #taken<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (name === "" || Buffer.byteLength(name) > MAX_NAME_BYTES)
      throw new ServiceError("invalid argument", `a snapshot's name has 1 to ${MAX_NAME_BYTES} bytes`);
    if (this.#taking.has(name) || this.#parts.table.get(name) !== undefined)
      throw new ServiceError("already exists", `snapshot ${name}`);
    this.#taking.add(name);
    try {
      return await work();
    } finally {
      this.#taking.delete(name);
    }
  }
}
