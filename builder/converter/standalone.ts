import type { MergedChain, StandaloneJob } from "../../blobd/conversion/index.ts";
import { type LayerRecord, type Store, type StoredFile, storedFileOf } from "../../blobd/store/index.ts";
import { writeErofs } from "../../formats/erofs/writer/index.ts";
import { makeStandalone, metaTree } from "../image/index.ts";
import { LayerGoneError } from "./merge.ts";

/**
 * One meta for each layer, as overlayfs puts them together, and the hold on them. They share their data with the layers' own.
 * @returns lowest first, without what is below them
 * @throws LayerGoneError with the layer's key; FormatError ERR_UNSUPPORTED as makeStandalone; StoreError
 */
export async function standaloneJob(store: Store, { below, layers, hold }: StandaloneJob): Promise<MergedChain[]> {
  const records: LayerRecord[] = [];
  for (const key of layers) {
    const record = await store.getLayer(key);
    if (record === undefined) throw new LayerGoneError(key);
    records.push(record);
  }
  const trees = records.map(({ meta }) => metaTree(store, meta));
  makeStandalone(below === undefined ? trees : [metaTree(store, below.meta), ...trees]);
  const images: MergedChain[] = [];
  for (const [i, tree] of trees.entries()) {
    const { blob, borrowed = [] } = records[i]!;
    const files = new Map([...(blob === undefined ? [] : [blob]), ...borrowed].map((file) => [file.digestHex, file]));
    const meta = storedFileOf(await store.putBytes(writeErofs(tree, { layout: "devices" }).meta));
    images.push({ meta, blobs: tree.blobs.map(({ digestHex }) => files.get(digestHex) as StoredFile) });
  }
  const files = images.flatMap(({ meta, blobs }) => [meta, ...blobs].map(({ digestHex }) => digestHex));
  store.putHold(hold.key, { owner: hold.owner, layers, files });
  return images;
}
