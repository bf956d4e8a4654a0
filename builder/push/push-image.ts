import { availableParallelism } from "node:os";
import {
  connectionOf,
  DEFAULT_RETRY,
  endpointsOf,
  RegistryClient,
  type RegistryOptions,
  RepositoryWriter,
  type RetryPolicy,
  readSettings,
} from "../../blobd/registry/index.ts";
import { type ImageRecord, Store, type StoredFile } from "../../blobd/store/index.ts";
import { type Digest, OCI_MANIFEST, type PrefetchList, type Reference } from "../../formats/oci/index.ts";
import {
  compressedLayer,
  digestOf,
  erofsConfig,
  erofsManifest,
  indexLayer,
  type LayerRole,
  type PushedLayer,
  plainLayer,
} from "./documents.ts";
import { prefetchOf } from "./prefetch.ts";
import { type PushListener, type PushState, type PushTarget, pushBlob, pushBytes } from "./push-blob.ts";
import { pushPlainBlob } from "./push-plain.ts";

export interface PushOptions {
  readonly storeRoot: string;
  /** Where to; its tag, else its digest is not looked at. */
  readonly to: Reference;
  readonly compression: "zstd" | "none";
  /** Of zstd; default DEFAULT_LEVEL. */
  readonly level?: number;
  /** Content of a chunk, in bytes: a multiple of 4096; default DEFAULT_CHUNK_BYTES. */
  readonly chunkBytes?: number;
  /** Chunks compressed at once; default: one per processor. */
  readonly workers?: number;
  /** What to fetch ahead where the image is used; ranges that are not of its blobs are left out. */
  readonly prefetch?: PrefetchList;
  readonly plainHttp?: boolean;
  readonly retry?: Partial<RetryPolicy>;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: PushEvent) => void;
}

/** Blobs in the order of the device table, the meta last. Sizes of content, in bytes. */
export type PushEvent =
  | { readonly type: "blobs"; readonly blobs: readonly StoredFile[] }
  | { readonly type: "blob"; readonly index: number; readonly state: PushState; readonly bytes: number };

export interface PushResult {
  readonly manifestDigest: Digest;
  /** Of the manifest's layers, without config and manifest. */
  readonly layers: readonly { readonly digest: Digest; readonly size: number; readonly mediaType: string }[];
  /** Of the image's files in the store, in bytes. */
  readonly contentBytes: number;
  /** Of all layers in the registry, in bytes. */
  readonly storedBytes: number;
  readonly seconds: number;
}

/** Measured: docs/decisions/0008. */
export const DEFAULT_CHUNK_BYTES = 512 << 10;
export const DEFAULT_LEVEL = 3;

/**
 * Pushes a converted image in the form of the draft EROFS image specification: its blobs as device layers, its metadata as
 * the file system over them. The manifest comes last, so that a push that ends early leaves nothing that looks whole.
 * @throws SourceError, StoreError; the reason of `signal`
 */
export async function pushImage(image: ImageRecord, options: PushOptions): Promise<PushResult> {
  const startMs = performance.now();
  const signal = options.signal ?? new AbortController().signal;
  const store = await Store.open(options.storeRoot);
  try {
    const target = await openTarget(options, signal);
    const files = [...image.blobs, image.meta];
    options.onProgress?.({ type: "blobs", blobs: files });
    const layers: PushedLayer[] = [];
    for (const [index, file] of files.entries()) {
      const onProgress: PushListener = (state, bytes) => options.onProgress?.({ type: "blob", index, state, bytes });
      const role = index < image.blobs.length ? "device" : "meta";
      layers.push(...(await pushFile(store, role, file, options, target, onProgress)));
    }
    const prefetch = options.prefetch && prefetchOf(image.blobs, options.prefetch);
    const config = erofsConfig(image.config, layers);
    await pushBytes(config, digestOf(config), target);
    const manifest = erofsManifest(config, layers, image.manifestDigest, prefetch);
    const manifestDigest = digestOf(manifest);
    await target.writer.putManifest(options.to.tag ?? manifestDigest, OCI_MANIFEST, manifest);
    return {
      manifestDigest,
      layers: layers.map(({ descriptor: { digest, size, mediaType } }) => ({ digest, size, mediaType })),
      contentBytes: files.reduce((sum, { size }) => sum + size, 0),
      storedBytes: layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
      seconds: (performance.now() - startMs) / 1000,
    };
  } finally {
    store.close();
  }
}

async function pushFile(
  store: Store,
  role: LayerRole,
  file: StoredFile,
  options: PushOptions,
  target: PushTarget,
  onProgress: PushListener,
): Promise<PushedLayer[]> {
  const { chunkBytes = DEFAULT_CHUNK_BYTES, level = DEFAULT_LEVEL, workers = availableParallelism() } = options;
  if (options.compression === "zstd") {
    const encoded = await pushBlob(store, file, { chunkBytes, level, workers }, target, onProgress);
    return [compressedLayer(role, file, encoded)];
  }
  const index = await pushPlainBlob(store, file, chunkBytes, target, onProgress);
  const layer = plainLayer(role, file);
  // Nothing may come behind the file system, and it is read as a whole anyway.
  if (role === "meta") return [layer];
  const chunkIndex = indexLayer(layer, index);
  await pushBytes(index, chunkIndex.descriptor.digest, target);
  return [layer, chunkIndex];
}

/** Pushes go to the registry itself, never to a mirror. */
async function openTarget(options: PushOptions, signal: AbortSignal): Promise<PushTarget> {
  const { registry, repository } = options.to;
  const registryOptions: RegistryOptions = {
    env: options.env ?? process.env,
    retry: { ...DEFAULT_RETRY, ...options.retry },
    signal,
  };
  const settings = await readSettings(registryOptions.env);
  const endpoint = endpointsOf(registry, options.plainHttp, settings).at(-1)!;
  const client = new RegistryClient(endpoint, repository, connectionOf(registryOptions));
  const writer = new RepositoryWriter(client, registryOptions.retry, signal);
  return { writer, name: `${registry}/${repository}`, signal };
}
