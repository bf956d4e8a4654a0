import type { ConvertedImage, RetryPolicy } from "../../blobd/registry/index.ts";
import { type ImageRecord, Store } from "../../blobd/store/index.ts";
import type { ErofsImageLayers } from "../../formats/oci/index.ts";
import type { ProgressListener } from "../image/index.ts";
import { formatSource, type RegistrySpec } from "../names/index.ts";
import { openFiles } from "../open/index.ts";
import { checkTags, imageRecord, storedLayer } from "../pushed/index.ts";
import { mergeStack } from "./merge-stack.ts";
import { pullLayer } from "./pull-layer.ts";

export interface PullOptions {
  readonly storeRoot: string;
  /** Layers fetched at once; default 3. */
  readonly jobs?: number;
  /** Most bytes that one layer may take on the disk. */
  readonly maxBlobBytes?: number;
  readonly retry?: Partial<RetryPolicy>;
  readonly onProgress?: ProgressListener;
  readonly signal: AbortSignal;
}

/** What was fetched. */
export interface PullResult {
  readonly how: ConvertedImage["how"];
  /** The image's key in the store. */
  readonly key: string;
  readonly record: ImageRecord;
  readonly layers: readonly { readonly digest: string; readonly size: number; readonly cached: boolean }[];
  readonly seconds: number;
}

const DEFAULT_JOBS = 3;

/**
 * Fetches all of a converted image into the store: what a conversion of its source would have put there, if it was made by the
 * same version. One of several file systems is merged into one here.
 * @throws SourceError, FormatError, StoreError, ImageError; the reason of `signal`
 */
export async function pullImage(
  spec: RegistrySpec,
  converted: ConvertedImage,
  options: PullOptions,
): Promise<PullResult> {
  const startMs = performance.now();
  const { onProgress = () => {}, jobs = DEFAULT_JOBS, maxBlobBytes } = options;
  const name = formatSource(spec);
  const stack = [...converted.below, converted.layers];
  const layers = stack.flatMap(({ meta, devices }) => [...devices, meta]);
  onProgress({
    type: "resolved",
    reference: `${name} (converted: ${converted.how === "itself" ? converted.manifestDigest : converted.how})`,
    layers: layers.map(({ descriptor: { digest, size } }) => ({ digest, size })),
  });
  const cached = layers.map(() => false);
  const sizes = layers.map(() => 0);
  const store = await Store.open(options.storeRoot, {
    onWarning: (message) => onProgress({ type: "warning", message }),
  });
  try {
    const stop = new AbortController();
    const signal = AbortSignal.any([options.signal, stop.signal]);
    const queue = [...layers.keys()];
    const pullSome = async () => {
      for (let index = queue.shift(); index !== undefined && !signal.aborted; index = queue.shift()) {
        const at = index;
        sizes[at] = await pullLayer(store, layers[at]!, {
          spec,
          access: converted.access,
          retry: { ...options.retry, onRetry: (reason) => onProgress({ type: "retry", index: at, reason }) },
          signal,
          maxBlobBytes,
          onState: (state, bytes) => {
            if (state === "cached") cached[at] = true;
            onProgress({ type: "layer", index: at, state, bytes });
          },
        });
      }
    };
    // All end before the first one's error is told: nothing is written behind the caller's back.
    const lines = Array.from({ length: Math.min(jobs, layers.length) }, pullSome);
    await Promise.all(lines.map((line) => line.catch((error) => stop.abort(error))));
    options.signal.throwIfAborted();
    stop.signal.throwIfAborted();
    const files = layers.map((layer, i) => storedLayer(layer, sizes[i]!, name));
    const { meta, blobs } =
      stack.length > 1
        ? await mergeStack(store, name, stack, files)
        : { meta: files.at(-1)!, blobs: files.slice(0, -1) };
    const { key, record } = imageRecord(converted, name, meta, blobs);
    if (stack.length === 1) checkImage(store, record, converted.layers, name);
    store.putImage(key, record);
    return {
      how: converted.how,
      key,
      record,
      layers: layers.map(({ descriptor: { digest, size } }, i) => ({ digest, size, cached: cached[i]! })),
      seconds: (performance.now() - startMs) / 1000,
    };
  } finally {
    store.close();
  }
}

/** Before anybody finds it in the store: it is an image, over these blobs in this order. */
function checkImage(store: Store, { meta, blobs }: ImageRecord, layers: ErofsImageLayers, name: string): void {
  const image = openFiles(name, {
    metaPath: store.blobPath(meta.digestHex),
    devicePaths: blobs.map(({ digestHex }) => store.blobPath(digestHex)),
  });
  try {
    checkTags(image, layers, name);
  } finally {
    image.close();
  }
}
