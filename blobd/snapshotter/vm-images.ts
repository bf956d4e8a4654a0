import type { ConverterPool, MergedChain } from "../conversion/index.ts";
import { servedRequest } from "./chain.ts";
import type { ChainMounts } from "./chain-mounts.ts";
import type { Chains } from "./chains.ts";
import type { Folders } from "./folders.ts";
import type { Mount } from "./grpc/index.ts";
import { activeMount, viewMount } from "./mount-plan.ts";
import type { Leases } from "./remote/index.ts";
import type { Snapshot, SnapshotTable } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";
import { pathIn } from "./stored-path.ts";
import { blockMounts, deviceMounts, type VmForm, vmFormOf } from "./vm-mounts.ts";

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
    if (form !== "block") return deviceMounts(form, await this.#files(parent), isView ? null : paths);
    const flatPath = await this.#flat(parent);
    const lowers = await this.#parts.mounts.lowers(parent);
    return blockMounts(flatPath, (isView ? viewMount(lowers, []) : activeMount(paths, lowers, [])).options);
  }

  /** Everything from `top` down as one image, whether it is mounted or not. */
  async #files(top: Snapshot): Promise<{ metaPath: string; devicePaths: string[] }> {
    const { table, leases, chains, storeRoot } = this.#parts;
    const request = servedRequest(table, top);
    const served = request === null ? null : await leases.get(request);
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
