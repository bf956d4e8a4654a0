import { availableParallelism } from "node:os";
import { sha256 } from "../../blobd/registry/index.ts";
import type { ImageRecord, Store, StoredFile } from "../../blobd/store/index.ts";
import { OCI_MANIFEST, type PrefetchList } from "../../formats/oci/index.ts";
import {
  compressedLayer,
  erofsConfig,
  erofsManifest,
  indexLayer,
  type LayerRole,
  type ManifestDescriptor,
  type ManifestExtras,
  type PushedLayer,
  plainLayer,
} from "./documents.ts";
import type { EncodeOptions } from "./encode-blob.ts";
import { prefetchOf } from "./prefetch.ts";
import { type PushListener, type PushState, pushBlob, pushBytes } from "./push-blob.ts";
import { pushPlainBlob } from "./push-plain.ts";
import type { PushTarget } from "./target.ts";

/** How an image's files become layers. */
export interface EncodingOptions {
  readonly compression: "zstd" | "none";
  /** Of zstd; default DEFAULT_LEVEL. */
  readonly level?: number;
  /** Content of a chunk, in bytes: a multiple of 4096; default DEFAULT_CHUNK_BYTES. */
  readonly chunkBytes?: number;
  /** Chunks compressed at once; default: one per processor. */
  readonly workers?: number;
  /** What to fetch ahead where the image is used; ranges that are not of its blobs are left out. */
  readonly prefetch?: PrefetchList;
}

/** Measured: docs/decisions/0008. */
const DEFAULT_CHUNK_BYTES = 512 << 10;
const DEFAULT_LEVEL = 3;

/** The options, with what is meant where nothing is said. */
export function encodeOptionsOf({ chunkBytes, level, workers }: EncodingOptions): EncodeOptions {
  return {
    chunkBytes: chunkBytes ?? DEFAULT_CHUNK_BYTES,
    level: level ?? DEFAULT_LEVEL,
    workers: workers ?? availableParallelism(),
  };
}

/** Files in the order of the manifest's layers. Sizes of content, in bytes. */
export type PushEvent =
  | { readonly type: "blobs"; readonly blobs: readonly StoredFile[] }
  | { readonly type: "blob"; readonly index: number; readonly state: PushState; readonly bytes: number };
export type PushProgress = (event: PushEvent) => void;

/** A manifest that is made, not yet put: the registry has all that it names. */
export interface PushedManifest {
  readonly descriptor: ManifestDescriptor;
  readonly bytes: Buffer;
  readonly layers: readonly PushedLayer[];
  /** Of the files, in bytes. */
  readonly contentBytes: number;
}

/**
 * Pushes an image's files and makes the manifest over them, in the form of the draft EROFS image specification: blobs as device
 * layers, the metadata as the file system over them. The caller puts the manifest, so that a push that ends early leaves
 * nothing that looks whole.
 * @param subject what it is attached to, if it is
 * @throws SourceError, StoreError; the reason of the target's signal
 */
export async function pushManifest(
  store: Store,
  image: ImageRecord,
  options: EncodingOptions,
  target: PushTarget,
  onProgress: PushProgress = () => {},
  subject?: ManifestDescriptor,
): Promise<PushedManifest> {
  const files = [...image.blobs, image.meta];
  const layers = await pushInOrder(files, onProgress, (file, index, onBlob) =>
    pushFile(store, index < image.blobs.length ? "device" : "meta", file, options, target, onBlob),
  );
  const prefetch = options.prefetch && prefetchOf(image.blobs, options.prefetch);
  const config = erofsConfig(image.config, layers);
  return manifestOver(image, config, layers, files, target, { prefetch, subject });
}

/**
 * Pushes files one after the other, in the manifest's order, and tells of each.
 * @param push gives the layers of one file
 */
export async function pushInOrder(
  files: readonly StoredFile[],
  onProgress: PushProgress,
  push: (file: StoredFile, index: number, onBlob: PushListener) => Promise<readonly PushedLayer[]>,
): Promise<PushedLayer[]> {
  onProgress({ type: "blobs", blobs: files });
  const layers: PushedLayer[] = [];
  for (const [index, file] of files.entries())
    layers.push(...(await push(file, index, (state, bytes) => onProgress({ type: "blob", index, state, bytes }))));
  return layers;
}

/** The manifest over layers that have been pushed; its config is pushed here. @throws SourceError */
export async function manifestOver(
  { manifestDigest }: ImageRecord,
  config: Buffer,
  layers: readonly PushedLayer[],
  files: readonly StoredFile[],
  target: PushTarget,
  extras?: ManifestExtras,
): Promise<PushedManifest> {
  await pushBytes(config, sha256(config), target);
  const bytes = erofsManifest(config, layers, manifestDigest, extras);
  const descriptor = { mediaType: OCI_MANIFEST, digest: sha256(bytes), size: bytes.length };
  return { descriptor, bytes, layers, contentBytes: files.reduce((sum, { size }) => sum + size, 0) };
}

/** A file of the store as a layer, and its chunk index where that is one of its own. @throws SourceError, StoreError */
export async function pushFile(
  store: Store,
  role: LayerRole,
  file: StoredFile,
  options: EncodingOptions,
  target: PushTarget,
  onProgress: PushListener,
): Promise<PushedLayer[]> {
  const encode = encodeOptionsOf(options);
  if (options.compression === "zstd") {
    const encoded = await pushBlob(store, file, encode, target, onProgress);
    return [compressedLayer(role, file, encoded)];
  }
  const index = await pushPlainBlob(store, file, encode.chunkBytes, target, onProgress);
  const layer = plainLayer(role, file);
  // Nothing may come behind the file system, and it is read as a whole anyway.
  if (role !== "device") return [layer];
  const chunkIndex = indexLayer(layer, index);
  await pushBytes(index, chunkIndex.descriptor.digest, target);
  return [layer, chunkIndex];
}
