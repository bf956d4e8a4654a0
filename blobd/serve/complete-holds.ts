import { createHash } from "node:crypto";
import { Store } from "../store/index.ts";
import type { Served } from "./served.ts";

/** Under this name prune finds what a service of this store relies on. */
const OWNER = "blobd serve";

/**
 * Complete blobs that clients have been given by path: prune leaves them alone until the last of them is done.
 */
export class CompleteHolds {
  readonly #root: string;
  readonly #uses = new Map<string, number>();

  constructor(storeRoot: string) {
    this.#root = storeRoot;
  }

  /** Gives back what an earlier service, that was killed, still holds. @throws StoreError */
  async removeStale(): Promise<void> {
    await this.#withStore((store) => {
      // Clients may be here already, and what they have been given is ours.
      const used = new Set([...this.#uses.keys()].map(keyOf));
      for (const { key, owner } of store.listHolds()) if (owner === OWNER && !used.has(key)) store.removeHold(key);
    });
  }

  /** A complete blob by its path, held until it is released. @throws StoreError */
  async serve(contentHex: string): Promise<Served> {
    return this.#withStore((store) => this.serveFrom(store, contentHex));
  }

  /** The same under the opening of the store in which it was found. @throws StoreError */
  serveFrom(store: Store, contentHex: string): Served {
    const release = this.#take(store, contentHex);
    const path = store.blobPath(contentHex);
    return { path, isComplete: true, fetched: () => ({ chunks: 0, storedBytes: 0 }), prefetch: () => {}, release };
  }

  /** @returns gives it back */
  #take(store: Store, contentHex: string): () => void {
    const uses = this.#uses.get(contentHex) ?? 0;
    if (uses === 0) store.putHold(keyOf(contentHex), { owner: OWNER, layers: [], files: [contentHex] });
    this.#uses.set(contentHex, uses + 1);
    return () => this.#give(contentHex);
  }

  #give(contentHex: string): void {
    const uses = this.#uses.get(contentHex)! - 1;
    this.#uses.set(contentHex, uses);
    if (uses > 0) return;
    this.#uses.delete(contentHex);
    this.#withStore((store) => {
      // Somebody may have taken it again meanwhile.
      if (!this.#uses.has(contentHex)) store.removeHold(keyOf(contentHex));
    }).catch(() => {}); // A hold too many goes at the next start.
  }

  async #withStore<T>(work: (store: Store) => T): Promise<T> {
    const store = await Store.open(this.#root);
    try {
      return work(store);
    } finally {
      store.close();
    }
  }
}

function keyOf(contentHex: string): string {
  return createHash("sha256").update(`${OWNER} ${contentHex}`).digest("hex");
}
