import { ConversionError, type ConverterPool, type PruneJobResult } from "../conversion/index.ts";

/** How long until a prune that found the store in use is tried again, in ms. */
const RETRY_MS = 15_000;

/** Keeps the store free of what nothing holds. */
export class StoreCare {
  readonly #pool: ConverterPool;
  readonly #storeRoot: string;
  readonly #onPruned: (result: PruneJobResult) => void;
  readonly #onWarning: (message: string, error: unknown) => void;
  #running: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;

  constructor(
    pool: ConverterPool,
    storeRoot: string,
    onPruned: (result: PruneJobResult) => void,
    onWarning: (message: string, error: unknown) => void,
  ) {
    this.#pool = pool;
    this.#storeRoot = storeRoot;
    this.#onPruned = onPruned;
    this.#onWarning = onWarning;
  }

  /** Removes what nothing holds; when others use the store, later. Calls that come meanwhile wait for the same. */
  prune(): Promise<void> {
    this.#running ??= this.#prune().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
  }

  async #prune(): Promise<void> {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    try {
      const result = await this.#pool.run({ kind: "prune", store: this.#storeRoot });
      if (result.blobs + result.layers > 0) this.#onPruned(result);
    } catch (error) {
      if (!(error instanceof ConversionError) || error.code !== "ERR_STORE_BUSY")
        this.#onWarning("the store is not pruned", error);
      this.#retry = setTimeout(() => void this.prune(), RETRY_MS).unref();
    }
  }
}
