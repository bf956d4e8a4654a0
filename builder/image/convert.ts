/** An image reference in, an image record in the store out. */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { type ImageRecord, type LayerRecord, recordKey, Store } from "../../blobd/store/index.ts";
import { type DictionaryImage, type LayerOptions, layerKey } from "../layer/index.ts";
import { formatSource, type SourceSpec } from "../names/index.ts";
import { findStored, ImageError } from "../open/index.ts";
import { type LayerInfo, type ResolvedImage, releaseImage, resolveImage } from "../sources/index.ts";
import { findLayer, type LayerJob, type StoredLayer } from "./layer-job.ts";
import { convertLayers, type PoolObserver } from "./layer-pool.ts";
import { LayerTrees, mergeImage } from "./merge-image.ts";
import type { ProgressListener } from "./progress.ts";

export interface ConvertOptions {
  readonly storeRoot: string;
  readonly layer: Omit<LayerOptions, "dictionary">;
  /** Images of the store, by name: what they hold is not stored again. */
  readonly dictionary?: readonly string[];
  /** Layers converted at once; default: one per processor, at least 2. */
  readonly jobs?: number;
  /** Threads that convert them; default: one for two processors. One is the calling thread. */
  readonly threads?: number;
  /** Most bytes that one layer may take on the disk: the limit for decompression bombs. */
  readonly maxBlobBytes?: number;
  readonly onProgress?: ProgressListener;
  readonly signal?: AbortSignal;
}

/** What a conversion gave and cost. */
export interface ConvertResult {
  readonly reference: string;
  /** The image's key in the store. */
  readonly key: string;
  readonly record: ImageRecord;
  readonly layers: readonly LayerSummaryResult[];
  /** Whether the image was in the store already. */
  readonly cached: boolean;
  readonly seconds: number;
}

export interface LayerSummaryResult {
  readonly digest: string;
  /** Bytes of the layer as stored at its source. */
  readonly size: number;
  readonly record: LayerRecord;
  readonly cached: boolean;
}

/** Raise it when the same layers merge into other bytes than before. */
const IMAGE_FORMAT_VERSION = 1;

/**
 * Converts an image: layers in parallel, each once per store, then the merge.
 *
 * @throws SourceError, LayerError, StoreError; the reason of `signal` when it is aborted. The store is as before, but for
 *   layers that were complete.
 */
export async function convertImage(spec: SourceSpec, options: ConvertOptions): Promise<ConvertResult> {
  const startMs = performance.now();
  const signal = options.signal ?? new AbortController().signal;
  const onProgress = options.onProgress ?? (() => {});
  const store = await Store.open(options.storeRoot, {
    onWarning: (message) => onProgress({ type: "warning", message }),
  });
  try {
    const dictionary = await openDictionary(store, options);
    const onRetry = (reason: string) => onProgress({ type: "retry", index: null, reason });
    const image = await resolveImage(spec, { signal, retry: { onRetry } });
    onProgress({
      type: "resolved",
      reference: image.reference,
      layers: image.layers.map(({ digest, size }) => ({ digest: digest ?? "directory", size })),
    });
    const trees = new LayerTrees(store);
    const stored = await storeLayers(
      store,
      image,
      { ...options, dictionary },
      { onProgress, onLayer: ({ record, tree }) => trees.load(record, tree) },
      signal,
    ).finally(() => releaseImage(image));
    const { key, record, cached } = await storeImage(store, image, stored, trees, options);
    const layers = image.layers.map(({ digest, size }, index) => {
      const { record, cached } = stored[index] as StoredLayer;
      return { digest: digest ?? record.layerDigest, size, record, cached };
    });
    return { reference: image.reference, key, record, layers, cached, seconds: (performance.now() - startMs) / 1000 };
  } finally {
    store.close();
  }
}

/** Images whose data are known. */
interface OpenDictionary {
  readonly images: readonly DictionaryImage[];
  /** Keys of their layers. */
  readonly layers: ReadonlySet<string>;
}

/** @throws ImageError for a name that no image of the store has, or one without hash trees when they are wanted */
async function openDictionary(store: Store, { dictionary = [], layer }: ConvertOptions): Promise<OpenDictionary> {
  const images: DictionaryImage[] = [];
  const layers = new Set<string>();
  for (const name of dictionary) {
    const { record } = await findStored(name, store);
    const { meta, blobs } = record;
    if (layer.verity && !blobs.every(({ verity }) => verity))
      throw new ImageError(
        "ERR_BAD_IMAGE",
        `${name} was converted without hash trees, so its blobs cannot be part of an image with them: convert it with --verity`,
      );
    images.push({ meta, blobs });
    for (const key of record.layers) layers.add(key);
  }
  return { images, layers };
}

/** A conversion with its dictionary found. */
type Conversion = Omit<ConvertOptions, "dictionary"> & { readonly dictionary: OpenDictionary };

/** All layers of the image in the store, in its order. A layer that the image has twice is converted once. */
async function storeLayers(
  store: Store,
  image: ResolvedImage,
  options: Conversion,
  observer: PoolObserver,
  signal: AbortSignal,
): Promise<StoredLayer[]> {
  const jobs = image.layers.map((layer, index) => layerJob(image, layer, index, options));
  const stored = new Map<string | null, StoredLayer>();
  const missing = new Map<string | null, LayerJob>();
  for (const job of jobs) {
    const { digest, size } = job.layer;
    const found = stored.get(digest) ?? (await findLayer(store, job));
    if (found === undefined) missing.set(digest, job);
    else {
      stored.set(digest, found);
      observer.onProgress({ type: "layer", index: job.index, state: "cached", bytes: size });
    }
  }
  const processors = availableParallelism();
  const size = {
    layers: options.jobs ?? Math.max(2, processors),
    threads: options.threads ?? Math.max(1, Math.floor(processors / 2)),
  };
  const toConvert = [...missing.values()];
  const converted = await convertLayers(toConvert, size, store, observer, signal);
  for (const [at, { layer }] of toConvert.entries()) stored.set(layer.digest, converted[at] as StoredLayer);
  return image.layers.map(({ digest }) => stored.get(digest) as StoredLayer);
}

function layerJob(image: ResolvedImage, layer: LayerInfo, index: number, options: Conversion): LayerJob {
  const { spec, access } = image;
  const { images, layers } = options.dictionary;
  // A layer that an image of the dictionary has too would only find itself there: it is taken as it is.
  const isKnown = layer.digest !== null && layers.has(layerKey(layer.digest, options.layer));
  const dictionary = !isKnown && images.length > 0 && { dictionary: images };
  return {
    index,
    origin: { spec, access },
    layer,
    options: { ...options.layer, ...dictionary },
    maxBlobBytes: options.maxBlobBytes,
  };
}

async function storeImage(
  store: Store,
  image: ResolvedImage,
  stored: readonly StoredLayer[],
  trees: LayerTrees,
  { layer, onProgress }: ConvertOptions,
): Promise<{ key: string; record: ImageRecord; cached: boolean }> {
  const layerKeys = stored.map(({ key }) => key);
  // Sources without a manifest (docker-archive, tar, dir) are known by their config, and by their layers below.
  const manifestDigest =
    image.manifestDigest ?? `sha256:${createHash("sha256").update(image.config.raw).digest("hex")}`;
  const layers = layerKeys.join(" ");
  const verity = layer.verity && { verity: true };
  const key = recordKey({ kind: "image", version: IMAGE_FORMAT_VERSION, manifestDigest, layers, ...verity });
  const references = [formatSource(image.spec)];
  const known = await store.getImage(key);
  if (known !== undefined) {
    const record = { ...known, references, createdMs: Date.now() };
    store.putImage(key, record);
    return { key, record, cached: true };
  }
  onProgress?.({ type: "merging", layers: stored.length });
  const startMs = performance.now();
  const merged = await mergeImage(
    store,
    stored.map(({ record }) => record),
    trees,
    { verity: layer.verity },
  );
  const record: ImageRecord = {
    manifestDigest,
    references,
    meta: merged.meta,
    blobs: merged.blobs,
    layers: layerKeys,
    config: JSON.parse(Buffer.from(image.config.raw).toString()),
    stats: { inodes: merged.inodes, mergeSeconds: (performance.now() - startMs) / 1000 },
    createdMs: Date.now(),
  };
  store.putImage(key, record);
  return { key, record, cached: false };
}
