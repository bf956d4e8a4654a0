import type { Store } from "../../blobd/store/index.ts";
import { LayerConverter, localChannel, workerChannel } from "./layer-converter.ts";
import type { LayerJob, StoredLayer } from "./layer-job.ts";
import type { ProgressListener } from "./progress.ts";

/** What a conversion hears of its layers. */
export interface PoolObserver {
  readonly onProgress: ProgressListener;
  /** A layer is in the store; called while others are still in work. */
  onLayer(layer: StoredLayer): void;
}

/** How many layers are in work at once, and on how many threads. */
export interface PoolSize {
  readonly layers: number;
  readonly threads: number;
}

/**
 * Converts layers, largest first so that none is left alone at the end. A thread has several layers in work: inflating,
 * hashing and writing happen on libuv's thread pool, and what is left to JavaScript is so little that another thread's
 * start and compilation cost more than it brings, up to about one thread for two processors. A single thread is this one.
 *
 * @returns the layers in the order of `jobs`.
 * @throws LayerError of the first layer that failed, after all others have stopped; the reason of `signal`
 */
export async function convertLayers(
  jobs: readonly LayerJob[],
  size: PoolSize,
  store: Store,
  observer: PoolObserver,
  signal: AbortSignal,
): Promise<StoredLayer[]> {
  const queue = [...jobs].sort((a, b) => a.layer.size - b.layer.size);
  const layers = new Map<number, StoredLayer>();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const inWork = Math.min(size.layers, jobs.length);
  const threads = Math.min(size.threads, inWork);
  const connect = threads === 1 ? localChannel(store) : workerChannel({ storeRoot: store.root });
  const converters = Array.from({ length: threads }, () => new LayerConverter(connect, observer.onProgress, either));
  const convertSome = async (converter: LayerConverter) => {
    for (let job = queue.pop(); job !== undefined && !either.aborted; job = queue.pop()) {
      const layer = await converter.convert(job);
      layers.set(job.index, layer);
      observer.onLayer(layer);
    }
  };
  const lines = Array.from({ length: inWork }, (_, i) => convertSome(converters[i % threads] as LayerConverter));
  await Promise.all(lines.map((line) => line.catch((error) => stop.abort(error))));
  await Promise.all(converters.map((converter) => converter.close()));
  signal.throwIfAborted();
  stop.signal.throwIfAborted();
  return jobs.map(({ index }) => layers.get(index) as StoredLayer);
}
