import type { LayerRecord, Store, StoredFile } from "../../blobd/store/index.ts";
import { bytesSource } from "../../formats/bytes/index.ts";
import { type ErofsImage, openErofs, writeErofs } from "../../formats/erofs/index.ts";
import { mergeLayers, type Tree } from "../../formats/tree/index.ts";

/** The merged meta of an image, in the store. */
export interface MergedImage {
  readonly meta: StoredFile;
  /** The blobs still referenced, in the order of the device table. */
  readonly blobs: readonly StoredFile[];
  readonly inodes: number;
}

/**
 * Merges the layers' metas (lowest first) into one with a device table. Reads and writes metadata only; cost grows with
 * the number of entries of all layers.
 */
export async function mergeImage(
  store: Store,
  layers: readonly LayerRecord[],
  trees: LayerTrees,
): Promise<MergedImage> {
  const tree = mergeLayers(layers.map((layer) => trees.take(layer)));
  const image = writeErofs(tree, { layout: "devices" });
  const files = new Map(layers.flatMap(({ blob }) => (blob === undefined ? [] : [[blob.digestHex, blob] as const])));
  const blobs = tree.blobs.map(({ digestHex }) => files.get(digestHex) as StoredFile);
  return { meta: await store.putBytes(image.meta), blobs, inodes: image.inodes };
}

/**
 * The layers' trees. A layer's meta can be read as soon as the layer is there, so that only the last one's is left to be
 * read before the merge.
 */
export class LayerTrees {
  private readonly store: Store;
  private readonly trees = new Map<string, Tree>();

  constructor(store: Store) {
    this.store = store;
  }

  load(layer: LayerRecord): void {
    const { digestHex } = layer.meta;
    if (!this.trees.has(digestHex)) this.trees.set(digestHex, metaTree(this.store, layer.meta));
  }

  /** The layer's tree, the caller's to change. */
  take(layer: LayerRecord): Tree {
    const { digestHex } = layer.meta;
    const tree = this.trees.get(digestHex) ?? metaTree(this.store, layer.meta);
    this.trees.delete(digestHex);
    return tree;
  }
}

/** The tree of an image's meta in the store, with the image written anew as one flat file's metadata. */
export function flatImage(store: Store, meta: StoredFile): { image: ErofsImage; tree: Tree } {
  const tree = metaTree(store, meta);
  return { image: writeErofs(tree, { layout: "flat" }), tree };
}

function metaTree(store: Store, meta: StoredFile): Tree {
  return openErofs(bytesSource(store.readBlob(meta.digestHex))).toTree();
}
