import { Store } from "../../blobd/store/index.ts";

/** The store opened while jobs use it, and closed between: a prune needs a moment when nobody has it open. */
export class StoreUse {
  readonly #onWarning: (message: string) => void;
  readonly #open = new Map<string, { users: number; readonly store: Promise<Store> }>();

  constructor(onWarning: (message: string) => void) {
    this.#onWarning = onWarning;
  }

  /** @throws StoreError; what `work` throws */
  async use<T>(root: string, work: (store: Store) => Promise<T>): Promise<T> {
    let entry = this.#open.get(root);
    if (entry === undefined) {
      entry = { users: 0, store: Store.open(root, { onWarning: this.#onWarning }) };
      this.#open.set(root, entry);
    }
    entry.users++;
    try {
      return await work(await entry.store);
    } finally {
      if (--entry.users === 0) {
        this.#open.delete(root);
        await entry.store.then(
          (store) => store.close(),
          () => {},
        );
      }
    }
  }
}
