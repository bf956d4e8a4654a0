import type { ConverterPool, MergedChain } from "../conversion/index.ts";
import { composeChain, servedRequest } from "./chain.ts";
import type { ChainMounts } from "./chain-mounts.ts";
import type { Chains } from "./chains.ts";
import type { Folders } from "./folders.ts";
import type { Mount } from "./grpc/index.ts";
import { activeMount, idMapOptions, type UpperPaths, viewMount } from "./mount-plan.ts";
import type { Leases, ServedImage } from "./remote/index.ts";
import type { Snapshot, SnapshotTable } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";
import { pathIn } from "./stored-path.ts";
import { blockMounts, deviceMounts, layeredMounts, type VmForm, vmFormOf } from "./vm-mounts.ts";

export interface VmImagesParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly holds: StoreHolds;
  readonly chains: Chains;
  readonly mounts: ChainMounts;
  readonly leases: Leases;
  readonly pool: ConverterPool;
  readonly storeRoot: string;
  /** Of snapshots that do not say it themselves; null: for runc. */
  readonly form: VmForm | null;
}

/** Images for runtimes that start virtual machines; see vm-mounts.ts. */
export class VmImages {
  readonly #parts: VmImagesParts;

  constructor(parts: VmImagesParts) {
    this.#parts = parts;
  }

  /** How the snapshot is handed out; null as for runc. @throws ServiceError */
  formOf({ labels, parent }: Snapshot): VmForm | null {
    const form = vmFormOf(labels, this.#parts.form);
    return parent === "" ? null : form;
  }

  /**
   * What a runtime gets that has the image from `parent` down as its lower file system.
   * @throws ServiceError, ConversionError, StoreError, SourceError
   */
  async mounts(snapshot: Snapshot, parent: Snapshot, form: VmForm): Promise<Mount[]> {
    const { folders } = this.#parts;
    const paths = { upper: folders.upper(snapshot.id), work: folders.work(snapshot.id) };
    const isView = snapshot.kind === "view";
    if (form === "layered") return await this.#layered(snapshot, parent, isView ? null : paths);
    if (form !== "block") return deviceMounts(form, await this.#files(parent), isView ? null : paths);
    const flatPath = await this.#flat(parent);
    const lowers = await this.#parts.mounts.lowers(parent);
    return blockMounts(flatPath, (isView ? viewMount(lowers, []) : activeMount(paths, lowers, [])).options);
  }

  async #layered({ labels }: Snapshot, parent: Snapshot, upper: UpperPaths | null): Promise<Mount[]> {
    const { table, folders, chains, storeRoot } = this.#parts;
    const idMap = idMapOptions(labels);
    const { directories, base } = composeChain(table, parent);
    const paths = directories.map(({ id }) => folders.upper(id));
    if (base === null) return [upper === null ? viewMount(paths, idMap) : activeMount(upper, paths, idMap)];
    const served = await this.#served(base);
    const path = pathIn(storeRoot, served);
    const layers = (await chains.layers(base, served)).map(({ meta, blobs }) => ({
      metaPath: path(meta),
      devicePaths: blobs.map(path),
    }));
    return layeredMounts(layers, paths, upper, idMap);
  }

  /** The image that is served on demand from `top` down; null when none is. */
  async #served(top: Snapshot): Promise<ServedImage | null> {
    const request = servedRequest(this.#parts.table, top);
    return request === null ? null : await this.#parts.leases.get(request);
  }

  /** Everything from `top` down as one image, whether it is mounted or not. */
  async #files(top: Snapshot): Promise<{ metaPath: string; devicePaths: string[] }> {
    const { chains, storeRoot } = this.#parts;
    const served = await this.#served(top);
    const { meta, blobs } = await chains.merged(top, served);
    const path = pathIn(storeRoot, served);
    return { metaPath: path(meta), devicePaths: blobs.map(path) };
  }

  /** The same in one file. */
  async #flat(top: Snapshot): Promise<string> {
    const { table, holds, pool, storeRoot } = this.#parts;
    const chain = await this.#whole(top);
    const hold = { key: holds.flatKey(top.id), owner: holds.owner };
    const known = table.byId(top.id)?.flat ?? null;
    const flat = await pool.run({ kind: "flat", store: storeRoot, chain, known, hold });
    const now = table.byId(top.id);
    if (now !== undefined && now.flat?.digestHex !== flat.digestHex) table.write([{ put: { ...now, flat } }]);
    return pathIn(storeRoot, null)(flat);
  }

  /** The image with all its blobs in the store: what is served on demand is fetched. */
  async #whole(top: Snapshot): Promise<MergedChain> {
    const { table, leases, chains } = this.#parts;
    const request = servedRequest(table, top);
    if (request === null) return chains.merged(top, null);
    await leases.fetchAll(request);
    return chains.merged(top, await leases.get(request));
  }
}
