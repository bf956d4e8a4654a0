import { mkdirSync, rmdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { mountErofs, SysError, unmount } from "../sys/index.ts";
import { composeChain, servedRequest } from "./chain.ts";
import type { Chains } from "./chains.ts";
import type { Folders } from "./folders.ts";
import { ServiceError } from "./grpc/index.ts";
import type { Leases, ServedImage } from "./remote/index.ts";
import type { Snapshot, SnapshotTable } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";
import { pathIn } from "./stored-path.ts";

/** What mounting needs of the rest. */
export interface ChainMountParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly holds: StoreHolds;
  readonly chains: Chains;
  readonly leases: Leases;
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

  /** The blobs of an image that is gone need not be served any more, unless another snapshot is of the same image. */
  letGo(request: string): void {
    for (const { remote } of this.#parts.table.all()) if (remote?.request === request) return;
    this.#parts.leases.drop(request);
  }

  #ensure(base: Snapshot): Promise<string> {
    const { folders, table, leases } = this.#parts;
    const target = folders.chain(base.id);
    const pending = this.#pending.get(base.id);
    if (pending !== undefined) return pending;
    const request = servedRequest(table, base);
    if (isMounted(target) && (request === null || leases.isHeld(request))) return Promise.resolve(target);
    const mounting = this.#mount(base, target, request).finally(() => this.#pending.delete(base.id));
    this.#pending.set(base.id, mounting);
    return mounting;
  }

  async #mount(base: Snapshot, target: string, request: string | null): Promise<string> {
    const startMs = performance.now();
    const served = request === null ? null : await this.#parts.leases.get(request);
    if (isMounted(target)) {
      if (!isServedByAnother(base, served)) return target;
      // Its blobs were shown by a daemon that has ended. Containers that run on it lose what they have not read.
      detach(target);
    }
    const { meta, blobs } = await this.#parts.chains.merged(base, served);
    if (this.#parts.table.byId(base.id) === undefined) {
      await this.#parts.holds.release([this.#parts.holds.snapshotKey(base.id)]);
      throw new ServiceError("not found", `snapshot ${base.name} was removed while it was mounted`);
    }
    const path = pathIn(this.#parts.storeRoot, served);
    if (statSync(target, { throwIfNoEntry: false }) === undefined) mkdirSync(target, { mode: 0o700 });
    const backing = mountErofs({ metaPath: path(meta), devicePaths: blobs.map(path), target });
    this.#noteServer(base, served);
    this.#parts.onMounted((performance.now() - startMs) / 1000, backing);
    return target;
  }

  /** Writes down by whom the mount's blobs are shown, for the process after us. */
  #noteServer({ id }: Snapshot, served: ServedImage | null): void {
    const { table } = this.#parts;
    const now = table.byId(id);
    const servedBy = served?.servedBy ?? null;
    if (now !== undefined && now.servedBy !== servedBy) table.write([{ put: { ...now, servedBy } }]);
  }
}

/** Whether a mount's blobs were shown by a daemon that is not there any more. */
function isServedByAnother({ servedBy }: Snapshot, served: ServedImage | null): boolean {
  return servedBy !== null && served !== null && served.servedBy !== null && served.servedBy !== servedBy;
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
