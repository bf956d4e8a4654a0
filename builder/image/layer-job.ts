/** The conversion of one layer of an image, the same on the main thread and in a worker. */
import { type BlobOptions, type LayerRecord, recordKey, type Store, StoreError } from "../../blobd/store/index.ts";
import type { Tree } from "../../formats/tree/index.ts";
import { buildLayer, type ConvertedLayer, convertLayer, type LayerOptions, layerKey } from "../layer/index.ts";
import { type LayerInfo, type LayerOrigin, openLayer, walkDirectory } from "../sources/index.ts";
import type { LayerState } from "./progress.ts";

/** Plain data: it is sent to a worker thread. */
export interface LayerJob {
  readonly index: number;
  readonly origin: LayerOrigin;
  readonly layer: LayerInfo;
  readonly options: LayerOptions;
  /** Most bytes of the layer's blob. */
  readonly maxBlobBytes: number | undefined;
}

/** A layer in the store, and its key there. */
export interface StoredLayer {
  readonly key: string;
  readonly record: LayerRecord;
  /** Whether the store had it, so that nothing was read. */
  readonly cached: boolean;
  /** The layer's tree, when it was converted in this thread just now. */
  readonly tree?: Tree;
}

/** A layer's lock that takes longer is held by another process that makes or fetches the same layer. */
export const WAITING_MS = 200;

export interface JobObserver {
  /** @param bytes of the layer as stored, read so far. */
  progress(state: LayerState, bytes: number): void;
  retry(reason: string): void;
}

/**
 * Converts the layer, unless somebody else has meanwhile. Two processes that want the same layer convert it once.
 * @throws SourceError, FormatError, StoreError; the reason of `signal` when it is aborted
 */
export async function runLayerJob(
  store: Store,
  job: LayerJob,
  observer: JobObserver,
  signal: AbortSignal,
): Promise<StoredLayer> {
  const { digest } = job.layer;
  if (digest === null) return await convertDirectory(store, job, observer, signal);
  const key = layerKey(digest, job.options);
  const waiting = setTimeout(() => observer.progress("waiting", 0), WAITING_MS);
  const convert = async (): Promise<StoredLayer> => {
    clearTimeout(waiting);
    const known = await store.getLayer(key);
    if (known !== undefined) {
      observer.progress("cached", job.layer.size);
      return { key, record: known, cached: true };
    }
    const converted = await convertBytes(store, job, observer, signal);
    const record = layerRecord(digest, job.layer.diffId, converted);
    store.putLayer(key, record);
    observer.progress("converted", job.layer.size);
    return { key, record, cached: false, tree: converted.tree };
  };
  try {
    return await store.withLayerLock(key, convert, signal);
  } finally {
    clearTimeout(waiting);
  }
}

/** The layer if the store has it. @throws StoreError */
export async function findLayer(store: Store, job: LayerJob): Promise<StoredLayer | undefined> {
  const { digest } = job.layer;
  if (digest === null) return undefined;
  const key = layerKey(digest, job.options);
  const record = await store.getLayer(key);
  return record && { key, record, cached: true };
}

async function convertBytes(
  store: Store,
  job: LayerJob,
  observer: JobObserver,
  signal: AbortSignal,
): Promise<ConvertedLayer> {
  observer.progress("converting", 0);
  const input = openLayer(job.origin, job.layer, {
    signal,
    onProgress: (bytes) => observer.progress("converting", bytes),
    retry: { onRetry: (reason) => observer.retry(reason) },
  });
  return await limited(job, (limits) => convertLayer(store, input, job.layer.compression, job.options, limits));
}

/** A directory has no bytes to know it by: it is read every time, and its result is known by what came out. */
async function convertDirectory(
  store: Store,
  job: LayerJob,
  observer: JobObserver,
  signal: AbortSignal,
): Promise<StoredLayer> {
  const { spec } = job.origin;
  if (spec.kind !== "dir") throw new Error(`a ${spec.kind} source gave a layer without a digest`);
  observer.progress("converting", 0);
  const onProgress = (bytes: number) => observer.progress("converting", bytes);
  const converted = await limited(job, (limits) =>
    buildLayer(store, job.options, limits, (sink, drain) =>
      walkDirectory(spec.path, sink, { signal, drain, onProgress }),
    ),
  );
  const record = layerRecord(`sha256:${converted.meta.digestHex}`, undefined, converted);
  const key = recordKey({ kind: "directory", meta: converted.meta.digestHex });
  store.putLayer(key, record);
  observer.progress("converted", record.stats.logicalBytes ?? 0);
  return { key, record, cached: false, tree: converted.tree };
}

function layerRecord(layerDigest: string, diffId: string | undefined, converted: ConvertedLayer): LayerRecord {
  const { meta, blob, borrowed, stats } = converted;
  return {
    layerDigest,
    ...(diffId !== undefined && { diffId }),
    meta,
    ...(blob !== undefined && { blob }),
    ...(borrowed.length > 0 && { borrowed }),
    stats: { ...stats },
  };
}

/** Runs a conversion with the job's limit, and tells of that limit what it means here. */
async function limited<T>({ maxBlobBytes }: LayerJob, convert: (limits: BlobOptions) => Promise<T>): Promise<T> {
  if (maxBlobBytes === undefined) return await convert({});
  try {
    return await convert({ maxBytes: maxBlobBytes });
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== "ERR_STORE_LIMIT") throw error;
    const message = `takes more than ${maxBlobBytes} bytes on the disk, the limit that was set for a layer`;
    throw new StoreError("ERR_STORE_LIMIT", error.path, message, error);
  }
}
