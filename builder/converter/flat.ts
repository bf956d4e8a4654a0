import type { FlatJob } from "../../blobd/conversion/index.ts";
import { type Store, type StoredFile, storedFileOf } from "../../blobd/store/index.ts";
import { metaTree, storeFlat } from "../image/index.ts";

/**
 * An image as one file of the store, and the hold on it. What is known from before is used when it is good.
 * @throws StoreError, FormatError; the reason of `signal`
 */
export async function flatJob(store: Store, { chain, known, hold }: FlatJob, signal: AbortSignal): Promise<StoredFile> {
  const isKnown = known !== null && (await store.checkBlob(known)) === "good";
  const flat = isKnown ? known : storedFileOf(await storeFlat(store, metaTree(store, chain.meta), signal));
  store.putHold(hold.key, { owner: hold.owner, layers: [], files: [flat.digestHex] });
  return flat;
}
