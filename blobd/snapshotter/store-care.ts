import { ConversionError, type ConverterPool, type PruneJobResult } from "../conversion/index.ts";
import { Store } from "../store/index.ts";
import type { SnapshotTable } from "./state/index.ts";

/** How long until a prune that found the store in use is tried again, in ms. */
const RETRY_MS = 15_000;
/**
 * The same for a blob that is still served: it takes a moment until `blobd serve` sees that nobody has it open. Somebody else
 * may have it open for hours, so each further try comes later, up to RETRY_MS.
 */
const SERVED_RETRY_MS = 1100;

export interface StoreCareParts {
  readonly table: SnapshotTable;
  readonly pool: ConverterPool;
  readonly storeRoot: string;
  readonly onPruned: (result: PruneJobResult) => void;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** Keeps the store free of what nothing holds, and of what was fetched of images that are gone. */
export class StoreCare {
  readonly #parts: StoreCareParts;
  #running: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;
  #servedRetryMs = SERVED_RETRY_MS;
  #closed = false;

  constructor(parts: StoreCareParts) {
    this.#parts = parts;
  }

  /** Removes what nothing holds; when others use it, later. Calls that come meanwhile wait for the same. */
  prune(): Promise<void> {
    // Something may have been removed just now.
    this.#servedRetryMs = SERVED_RETRY_MS;
    return this.#runOnce();
  }

  #runOnce(): Promise<void> {
    this.#running ??= this.#prune().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
  }

  async #prune(): Promise<void> {
    const { onWarning } = this.#parts;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    try {
      if (await this.#removeServed()) this.#servedRetryMs = SERVED_RETRY_MS;
      else {
        this.#again(this.#servedRetryMs);
        this.#servedRetryMs = Math.min(2 * this.#servedRetryMs, RETRY_MS);
      }
      await this.#pruneStore();
    } catch (error) {
      if (!(error instanceof ConversionError) || error.code !== "ERR_STORE_BUSY")
        onWarning("the store is not pruned", error);
      this.#again(RETRY_MS);
    }
  }

  async #pruneStore(): Promise<void> {
    const { pool, storeRoot, onPruned } = this.#parts;
    const result = await pool.run({ kind: "prune", store: storeRoot });
    if (result.blobs + result.layers > 0) onPruned(result);
  }

  /**
   * Removes what was fetched of blobs that no snapshot has any more.
   * @returns whether nothing is left of them
   * @throws StoreError
   */
  async #removeServed(): Promise<boolean> {
    const { table, storeRoot } = this.#parts;
    const served = new Set(table.servedBlobs());
    for (const { chain } of table.all()) for (const { digestHex } of chain?.blobs ?? []) served.delete(digestHex);
    if (served.size === 0) return true;
    const store = await Store.open(storeRoot);
    try {
      const inUse = new Set<string>();
      for (const { key, contentHex } of store.partials.list())
        if (served.has(contentHex) && !(await store.partials.remove(key))) inUse.add(contentHex);
      table.forgetServed([...served].filter((digestHex) => !inUse.has(digestHex)));
      return inUse.size === 0;
    } finally {
      store.close();
    }
  }

  #again(delayMs: number): void {
    if (this.#closed) return;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#runOnce(), delayMs).unref();
  }
}
