import { getHeapStatistics } from "node:v8";
import { type LayerRecord, type Store, type StoredFile, storedFileOf } from "../../blobd/store/index.ts";
import { bytesSource } from "../../formats/bytes/index.ts";
import { openErofs } from "../../formats/erofs/index.ts";
import { type ErofsImage, writeErofs } from "../../formats/erofs/writer/index.ts";
import { mergeLayers, type Tree } from "../../formats/tree/index.ts";

/** The layers are fine, their merge would take more memory than Node.js may use. */
export class MergeError extends Error {
  override readonly name = "MergeError";
  readonly code = "ERR_LIMIT";
}

/** What an inode takes in the heap from the tree to the written meta, in bytes: measured with a million. */
const INODE_HEAP_BYTES = 500;

/** The merged meta of an image, in the store. */
export interface MergedImage {
  readonly meta: StoredFile;
  /** The blobs still referenced, in the order of the device table. */
  readonly blobs: readonly StoredFile[];
  readonly inodes: number;
}

export interface MergeOptions {
  /** Whether the meta gets a hash tree, as the layers' blobs have; default false. */
  readonly verity?: boolean | undefined;
  /** An image under all layers: only its metadata have to be in the store. */
  readonly below?: Pick<MergedImage, "meta" | "blobs"> | undefined;
}

/**
 * Merges the layers' metas (lowest first) into one with a device table. Reads and writes metadata only; cost grows with
 * the number of entries of all layers.
 */
export async function mergeImage(
  store: Store,
  layers: readonly LayerRecord[],
  trees: LayerTrees,
  { verity = false, below }: MergeOptions = {},
): Promise<MergedImage> {
  const bottom = below === undefined ? [] : [metaTree(store, below.meta)];
  const all = [...bottom, ...layers.map((layer) => trees.take(layer))];
  return mergeTrees(store, all, [...(below?.blobs ?? []), ...layers.flatMap(blobsOfLayer)], verity);
}

/** The files that a layer's metadata name. */
export function blobsOfLayer({ blob, borrowed = [] }: LayerRecord): readonly StoredFile[] {
  return blob === undefined ? borrowed : [blob, ...borrowed];
}

/**
 * Merges trees, lowest first, which become the merge's to change.
 * @param files those that their blobs are, and maybe more
 * @throws FormatError, ErofsWriteError, StoreError
 */
export async function mergeTrees(
  store: Store,
  trees: readonly Tree[],
  files: readonly StoredFile[],
  verity: boolean,
): Promise<MergedImage> {
  const tree = mergeLayers(trees);
  const image = writeErofs(tree, { layout: "devices" });
  const byDigest = new Map(files.map((file) => [file.digestHex, file]));
  const blobs = tree.blobs.map(({ digestHex }) => byDigest.get(digestHex) as StoredFile);
  return { meta: storedFileOf(await store.putBytes(image.meta, { verity })), blobs, inodes: image.inodes };
}

/**
 * The layers' trees. A layer's meta can be read as soon as the layer is there, so that only the last one's is left to be
 * read before the merge; what was converted in this thread need not be read at all.
 */
export class LayerTrees {
  private readonly store: Store;
  private readonly trees = new Map<string, Tree>();
  private inodes = 0;
  private heapBytes = 0;

  constructor(store: Store) {
    this.store = store;
  }

  /**
   * @param tree the layer's, where somebody has it; it becomes the merge's to change
   * @throws MergeError when all trees so far are too much
   */
  load(layer: LayerRecord, tree?: Tree): void {
    const { digestHex, size } = layer.meta;
    if (this.trees.has(digestHex)) return;
    this.inodes += layer.stats.inodes ?? 0;
    this.heapBytes += heapBytesOf(layer.stats.inodes ?? 0) + size;
    requireHeap(this.inodes, this.heapBytes);
    this.trees.set(digestHex, tree ?? metaTree(this.store, layer.meta));
  }

  /** The layer's tree, the caller's to change. */
  take(layer: LayerRecord): Tree {
    const { digestHex } = layer.meta;
    const tree = this.trees.get(digestHex) ?? metaTree(this.store, layer.meta);
    this.trees.delete(digestHex);
    return tree;
  }
}

/** What a tree of so many inodes takes until it is merged, in bytes. */
export function heapBytesOf(inodes: number): number {
  return inodes * INODE_HEAP_BYTES;
}

/** A crash for want of memory could not be told in a line. @throws MergeError when trees take more than there is */
export function requireHeap(inodes: number, bytes: number): void {
  const limit = getHeapStatistics().heap_size_limit;
  if (bytes > limit) throw tooLarge(inodes, bytes, limit);
}

function tooLarge(inodes: number, needed: number, limit: number): MergeError {
  const mebibytes = (bytes: number) => Math.ceil(bytes / (1 << 20));
  return new MergeError(
    `the image's layers hold ${inodes} files and folders and more: merging them takes about ${mebibytes(needed)} MiB ` +
      `of memory, Node.js may use ${mebibytes(limit)}; NODE_OPTIONS=--max-old-space-size=MIB raises that`,
  );
}

/** The tree of an image's meta in the store, with the image written anew as one flat file's metadata. */
export function flatImage(store: Store, meta: StoredFile): { image: ErofsImage; tree: Tree } {
  const tree = metaTree(store, meta);
  return { image: writeErofs(tree, { layout: "flat" }), tree };
}

/** The tree of an image's or a layer's meta in the store. @throws FormatError, StoreError */
export function metaTree(store: Store, meta: StoredFile): Tree {
  return openErofs(bytesSource(store.readBlob(meta.digestHex))).toTree();
}
