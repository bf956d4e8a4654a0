import { type Database, open, type RootDatabase } from "lmdb";
import type { TarIdentity } from "../../conversion/index.ts";
import { formatSnapshot, parseSnapshot, type Snapshot } from "./snapshot.ts";

/** Raise it when what is written changes its meaning. */
const VERSION = "1";
/** Longest name of a snapshot, in bytes of UTF-8: LMDB's keys end at 1978. */
export const MAX_NAME_BYTES = 1900;
/** Most tars that are remembered; past it all are forgotten, and hashed again when they come back. */
const MAX_TARS = 100_000;

/** A snapshot that goes, or one that is put in place under its name. */
export type Change = { readonly put: Snapshot } | { readonly remove: string };

/**
 * All snapshots: in memory, and in an LMDB file that a killed process leaves whole. A change is on the disk when `write`
 * returns, all of it or nothing.
 */
export class SnapshotTable {
  readonly #root: RootDatabase<string, string>;
  readonly #snapshots: Database<string, string>;
  readonly #tars: Database<TarIdentity, string>;
  readonly #served: Database<boolean, string>;
  readonly #byName = new Map<string, Snapshot>();
  readonly #byId = new Map<number, Snapshot>();
  /** Names of a snapshot's children. */
  readonly #children = new Map<string, Set<string>>();
  #lastId = 0;

  /** @throws Error when the files cannot be opened or are of another version */
  constructor(folder: string) {
    this.#root = open<string, string>({ path: folder, encoding: "string", maxDbs: 4, overlappingSync: false });
    const version = this.#root.get("version") ?? VERSION;
    if (version !== VERSION) throw new Error(`${folder}: found state of version ${version}, expected ${VERSION}`);
    this.#root.putSync("version", VERSION);
    this.#lastId = Number(this.#root.get("lastId") ?? 0);
    this.#snapshots = this.#root.openDB<string, string>({ name: "snapshots", encoding: "string" });
    this.#tars = this.#root.openDB<TarIdentity, string>({ name: "tars", encoding: "json" });
    this.#served = this.#root.openDB<boolean, string>({ name: "served", encoding: "json" });
    for (const { value } of this.#snapshots.getRange()) this.#remember(parseSnapshot(value));
  }

  get(name: string): Snapshot | undefined {
    return this.#byName.get(name);
  }

  byId(id: number): Snapshot | undefined {
    return this.#byId.get(id);
  }

  hasChildren(name: string): boolean {
    return this.#children.has(name);
  }

  /** All snapshots, in no order; changes during the iteration may or may not show. */
  all(): Iterable<Snapshot> {
    return this.#byName.values();
  }

  get size(): number {
    return this.#byName.size;
  }

  /** A number no snapshot had before; on the disk with the next `write`. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** @throws Error when the disk is full or broken; nothing has changed then. */
  write(changes: readonly Change[]): void {
    this.#root.transactionSync(() => {
      this.#root.putSync("lastId", String(this.#lastId));
      for (const change of changes)
        if ("put" in change) this.#snapshots.putSync(change.put.name, formatSnapshot(change.put));
        else this.#snapshots.removeSync(change.remove);
    });
    for (const change of changes) this.#forget("put" in change ? change.put.name : change.remove);
    for (const change of changes) if ("put" in change) this.#remember(change.put);
  }

  /** What a layer's tar was found to be, by the digest of the layer. */
  tarOf(layerDigest: string): TarIdentity | null {
    return this.#tars.get(layerDigest) ?? null;
  }

  rememberTar(layerDigest: string, { diffId, tarBytes }: TarIdentity): void {
    if (this.#tars.getCount() > MAX_TARS) this.#tars.clearSync();
    this.#tars.putSync(layerDigest, { diffId, tarBytes });
  }

  /** Digests of blobs that were served on demand, and may lie in the store in part. */
  servedBlobs(): string[] {
    return [...this.#served.getKeys()];
  }

  /** All in one write to the disk, as with `forgetServed`: an image has many blobs. */
  rememberServed(digestsHex: readonly string[]): void {
    if (digestsHex.length === 0) return;
    this.#root.transactionSync(() => {
      for (const digestHex of digestsHex) this.#served.putSync(digestHex, true);
    });
  }

  forgetServed(digestsHex: readonly string[]): void {
    if (digestsHex.length === 0) return;
    this.#root.transactionSync(() => {
      for (const digestHex of digestsHex) this.#served.removeSync(digestHex);
    });
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  #remember(snapshot: Snapshot): void {
    this.#byName.set(snapshot.name, snapshot);
    this.#byId.set(snapshot.id, snapshot);
    this.#lastId = Math.max(this.#lastId, snapshot.id);
    if (snapshot.parent === "") return;
    const siblings = this.#children.get(snapshot.parent) ?? new Set();
    this.#children.set(snapshot.parent, siblings.add(snapshot.name));
  }

  #forget(name: string): void {
    const snapshot = this.#byName.get(name);
    if (snapshot === undefined) return;
    this.#byName.delete(name);
    this.#byId.delete(snapshot.id);
    const siblings = this.#children.get(snapshot.parent);
    siblings?.delete(name);
    if (siblings?.size === 0) this.#children.delete(snapshot.parent);
  }
}
