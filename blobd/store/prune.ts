import type { Blobs } from "./blobs.ts";
import type { Hold, Holds } from "./holds.ts";
import type { FoundRecord, RecordFiles } from "./record-files.ts";
import type { EncodingRecord, ImageRecord, LayerRecord, StoredFile } from "./records.ts";

/** What a prune may remove. */
export interface PruneOptions {
  /** Images go, least recently used first, until the store's blobs take no more than this many bytes of disk. */
  readonly maxBytes?: number;
  /** Keys of images that stay whatever `maxBytes` says. */
  readonly keepImages?: ReadonlySet<string>;
  /** Only say what would be removed. */
  readonly dryRun?: boolean;
}

/** What a prune has removed, or would. */
export interface PruneResult {
  /** Unreadable records and those whose files are not there go without their references. */
  readonly images: readonly { readonly key: string; readonly references: readonly string[] }[];
  /** Keys. */
  readonly layers: readonly string[];
  /** Digests. */
  readonly blobs: readonly string[];
  /** Disk space of the removed blobs, in bytes (holes take none). */
  readonly freedBytes: number;
  /** Disk space of the blobs that stay, in bytes. */
  readonly keptBytes: number;
}

/** The parts of a store that a prune works on. */
export interface PruneParts {
  readonly images: RecordFiles<ImageRecord>;
  readonly layers: RecordFiles<LayerRecord>;
  readonly encodings: RecordFiles<EncodingRecord>;
  readonly blobs: Blobs;
  readonly holds: Holds;
}

/**
 * Removes what nobody needs: records that are no good or name files that are not there, layers without an image, blobs
 * without either; then images beyond `maxBytes`. Nobody else may use the store meanwhile.
 *
 * References are counted: an image holds its layers, both hold blobs, and what a hold names stays in any case. Records go before the blobs they name, so that a
 * prune that is killed leaves at most blobs without a record, for the next one.
 * @throws StoreError
 */
export function prune({ images, layers, encodings, blobs, holds }: PruneParts, options: PruneOptions): PruneResult {
  const plan = new Plan(images, layers, blobs);
  for (const hold of holds.list()) plan.keep(hold);
  plan.shrink(options.maxBytes ?? Number.POSITIVE_INFINITY, options.keepImages ?? new Set());
  const result = plan.result();
  if (!options.dryRun) {
    for (const { key } of result.images) images.remove(key);
    for (const key of result.layers) layers.remove(key);
    for (const digestHex of result.blobs) blobs.remove(digestHex);
    blobs.removeStrayStamps();
    removeStrayEncodings(encodings, blobs);
  }
  return result;
}

/** Encodings go with their blobs. */
function removeStrayEncodings(encodings: RecordFiles<EncodingRecord>, blobs: Blobs): void {
  for (const key of encodings.keys()) {
    const found = encodings.get(key);
    if (found === undefined || blobs.stat(found.record.blobHex) === undefined) encodings.remove(key);
  }
}

/** Who holds what; begins with all good images, from which `shrink` takes some away. */
class Plan {
  /** Keys of image records to remove, the unreadable ones too. */
  readonly #goingImages: Set<string>;
  readonly #images = new Map<string, FoundRecord<ImageRecord>>();
  readonly #layers = new Map<string, FoundRecord<LayerRecord>>();
  readonly #allLayerKeys: readonly string[];
  /** Disk space of every blob, in bytes. */
  readonly #bytes = new Map<string, number>();
  readonly #apparentBytes = new Map<string, number>();
  readonly #layerHolders = new Counts();
  readonly #blobHolders = new Counts();
  #keptBytes = 0;

  constructor(images: RecordFiles<ImageRecord>, layers: RecordFiles<LayerRecord>, blobs: Blobs) {
    for (const digestHex of blobs.list()) {
      const found = blobs.stat(digestHex);
      this.#bytes.set(digestHex, Number(found?.blocks ?? 0n) * STAT_BLOCK_BYTES);
      this.#apparentBytes.set(digestHex, Number(found?.size ?? 0n));
    }
    this.#allLayerKeys = layers.keys();
    for (const key of this.#allLayerKeys) {
      const found = layers.get(key);
      if (found && filesOfLayer(found.record).every((file) => this.#isThere(file))) this.#layers.set(key, found);
    }
    const imageKeys = images.keys();
    for (const key of imageKeys) {
      const found = images.get(key);
      if (found && filesOfImage(found.record).every((file) => this.#isThere(file))) this.#add(found);
    }
    this.#goingImages = new Set(imageKeys.filter((key) => !this.#images.has(key)));
  }

  /** What a hold names never goes. */
  keep({ layers, files }: Hold): void {
    for (const key of layers)
      if (this.#layerHolders.add(key)) for (const file of this.#filesOf(key)) this.#hold(file.digestHex);
    for (const digestHex of files) this.#hold(digestHex);
  }

  /** Takes images away, least recently used first, until the rest takes at most `maxBytes`. */
  shrink(maxBytes: number, keep: ReadonlySet<string>): void {
    const byUse = [...this.#images.values()].sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    for (const image of byUse) {
      if (this.#keptBytes <= maxBytes) return;
      if (!keep.has(image.key)) this.#drop(image);
    }
  }

  result(): PruneResult {
    const blobs = [...this.#bytes.keys()].filter((digestHex) => !this.#blobHolders.has(digestHex));
    return {
      images: [...this.#goingImages].map((key) => ({
        key,
        references: this.#images.get(key)?.record.references ?? [],
      })),
      layers: this.#allLayerKeys.filter((key) => !this.#layerHolders.has(key) || !this.#layers.has(key)),
      blobs,
      freedBytes: blobs.reduce((sum, digestHex) => sum + this.#bytes.get(digestHex)!, 0),
      keptBytes: this.#keptBytes,
    };
  }

  #add(image: FoundRecord<ImageRecord>): void {
    this.#images.set(image.key, image);
    for (const file of filesOfImage(image.record)) this.#hold(file.digestHex);
    for (const key of image.record.layers)
      if (this.#layerHolders.add(key)) for (const file of this.#filesOf(key)) this.#hold(file.digestHex);
  }

  #drop(image: FoundRecord<ImageRecord>): void {
    this.#goingImages.add(image.key);
    for (const file of filesOfImage(image.record)) this.#letGo(file);
    for (const key of image.record.layers)
      if (this.#layerHolders.remove(key)) for (const file of this.#filesOf(key)) this.#letGo(file);
  }

  #hold(digestHex: string): void {
    if (this.#blobHolders.add(digestHex)) this.#keptBytes += this.#bytes.get(digestHex) ?? 0;
  }

  #letGo(file: StoredFile): void {
    if (this.#blobHolders.remove(file.digestHex)) this.#keptBytes -= this.#bytes.get(file.digestHex)!;
  }

  #filesOf(layerKey: string): readonly StoredFile[] {
    const layer = this.#layers.get(layerKey);
    return layer ? filesOfLayer(layer.record) : [];
  }

  #isThere(file: StoredFile): boolean {
    return this.#apparentBytes.get(file.digestHex) === file.size;
  }
}

/** How many hold each name. */
class Counts {
  readonly #counts = new Map<string, number>();

  has(name: string): boolean {
    return this.#counts.has(name);
  }

  /** Counts one more; returns whether it is the first. */
  add(name: string): boolean {
    const count = this.#counts.get(name) ?? 0;
    this.#counts.set(name, count + 1);
    return count === 0;
  }

  /** Counts one less; returns whether it was the last. */
  remove(name: string): boolean {
    const count = this.#counts.get(name)! - 1;
    if (count > 0) this.#counts.set(name, count);
    else this.#counts.delete(name);
    return count === 0;
  }
}

/** The files a layer record names. */
export function filesOfLayer(record: LayerRecord): readonly StoredFile[] {
  const { meta, blob, borrowed = [] } = record;
  return blob ? [meta, blob, ...borrowed] : [meta, ...borrowed];
}

/** The files an image record names itself; those of its layers come with the layers. */
export function filesOfImage(record: ImageRecord): readonly StoredFile[] {
  return [record.meta, ...record.blobs];
}

/** Unit of st_blocks, in bytes: stat(2). */
const STAT_BLOCK_BYTES = 512;
