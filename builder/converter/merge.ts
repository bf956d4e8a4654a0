import { ERR_LAYER_GONE, type MergedChain, type MergeJob } from "../../blobd/conversion/index.ts";
import type { LayerRecord, Store } from "../../blobd/store/index.ts";
import { LayerTrees, mergeImage } from "../image/index.ts";

/** A layer of the merge is not in the store, or was found damaged there. */
export class LayerGoneError extends Error {
  override readonly name = "LayerGoneError";
  readonly code = ERR_LAYER_GONE;
}

/**
 * One meta over all layers, and the hold on it. What is known from before is used when its files are all good.
 * @throws LayerGoneError with the layer's key; MergeError, FormatError, StoreError
 */
export async function mergeJob(store: Store, job: MergeJob): Promise<MergedChain> {
  const { below, hold, holdLayers, known } = job;
  const keep = ({ meta, blobs }: MergedChain): MergedChain => {
    const files = [meta, ...blobs].map(({ digestHex }) => digestHex);
    store.putHold(hold.key, { owner: hold.owner, layers: holdLayers, files });
    return { meta, blobs };
  };
  if (known !== null && (await areGood(store, known, below))) return keep(known);
  const records: LayerRecord[] = [];
  for (const key of job.layers) {
    const record = await store.getLayer(key);
    if (record === undefined) throw new LayerGoneError(key);
    records.push(record);
  }
  return keep(await mergeImage(store, records, new LayerTrees(store), { below }));
}

async function areGood(store: Store, { meta, blobs }: MergedChain, below: MergedChain | undefined): Promise<boolean> {
  const elsewhere = new Set(below?.blobs.map(({ digestHex }) => digestHex));
  for (const file of [meta, ...blobs])
    if (!elsewhere.has(file.digestHex) && (await store.checkBlob(file)) !== "good") return false;
  return true;
}
