import { availableParallelism } from "node:os";
import { SourceError } from "../../blobd/registry/index.ts";
import { type ImageRecord, type Store, type StoredFile, storedFileOf } from "../../blobd/store/index.ts";
import {
  CONTAINERD_21_LAYER,
  CONTAINERD_LAYER,
  type Digest,
  EROFS_ANNOTATIONS,
  OCI_MANIFEST,
  ZSTD_SUFFIX,
} from "../../formats/oci/index.ts";
import type { Tree } from "../../formats/tree/index.ts";
import { metaTree, storeFlat } from "../image/index.ts";
import { digestOf, erofsManifest, type PushedLayer, replacedLayers } from "./documents.ts";
import { pushBlob, pushBytes } from "./push-blob.ts";
import {
  DEFAULT_CHUNK_BYTES,
  DEFAULT_LEVEL,
  type EncodingOptions,
  type PushedManifest,
  type PushProgress,
} from "./push-manifest.ts";
import { pushPlainBlob } from "./push-plain.ts";
import { makeStandalone } from "./standalone-layers.ts";
import type { PushTarget } from "./target.ts";

/**
 * What containerd's own erofs snapshotter pulls: from 2.2 on `application/vnd.erofs.layer.v1`, also with zstd; 2.1 knows layers
 * by a type that ends in `.erofs`, as they are.
 */
export type ContainerdFormat = "containerd" | "containerd-2.1";

/**
 * Pushes an image as one file system for each of its layers, and the manifest over them. The files are made for the push, and go
 * with the store's next prune.
 * @throws SourceError when the image was not made of layers here; FormatError, StoreError
 */
export async function pushLayers(
  store: Store,
  image: ImageRecord,
  format: ContainerdFormat,
  options: EncodingOptions,
  target: PushTarget,
  onProgress: PushProgress = () => {},
): Promise<PushedManifest> {
  const files: StoredFile[] = [];
  for (const tree of await standaloneTrees(store, image))
    files.push(storedFileOf(await storeFlat(store, tree, target.signal)));
  onProgress({ type: "blobs", blobs: files });
  const layers: PushedLayer[] = [];
  for (const [index, file] of files.entries())
    layers.push(
      await pushLayer(store, file, format, options, target, (state, bytes) =>
        onProgress({ type: "blob", index, state, bytes }),
      ),
    );
  const config = replacedLayers(image.config, layers);
  await pushBytes(config, digestOf(config), target);
  const bytes = erofsManifest(config, layers, image.manifestDigest);
  const descriptor = { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length };
  return { descriptor, bytes, layers, contentBytes: files.reduce((sum, { size }) => sum + size, 0) };
}

async function standaloneTrees(store: Store, image: ImageRecord): Promise<Tree[]> {
  const trees: Tree[] = [];
  for (const key of image.layers) {
    const layer = await store.getLayer(key);
    if (layer === undefined)
      throw new SourceError("ERR_NOT_FOUND", `layer ${key} is no longer in ${store.root}: use --pull`);
    trees.push(metaTree(store, layer.meta));
  }
  makeStandalone(trees);
  return trees;
}

async function pushLayer(
  store: Store,
  file: StoredFile,
  format: ContainerdFormat,
  options: EncodingOptions,
  target: PushTarget,
  onProgress: Parameters<typeof pushBlob>[4],
): Promise<PushedLayer> {
  const diffId: Digest = `sha256:${file.digestHex}`;
  const { chunkBytes = DEFAULT_CHUNK_BYTES, level = DEFAULT_LEVEL, workers = availableParallelism() } = options;
  if (format === "containerd-2.1" || options.compression === "none") {
    await pushPlainBlob(store, file, chunkBytes, target, onProgress);
    const mediaType = format === "containerd-2.1" ? CONTAINERD_21_LAYER : CONTAINERD_LAYER;
    return { descriptor: { mediaType, digest: diffId, size: file.size, annotations: {} }, diffId };
  }
  const { digest, size, indexStart, indexDigest } = await pushBlob(
    store,
    file,
    { chunkBytes, level, workers },
    target,
    onProgress,
  );
  const annotations = {
    [EROFS_ANNOTATIONS.uncompressedDigest]: diffId,
    [EROFS_ANNOTATIONS.chunkIndexRange]: `${indexStart}:${size}`,
    [EROFS_ANNOTATIONS.chunkIndexDigest]: indexDigest,
  };
  return { descriptor: { mediaType: `${CONTAINERD_LAYER}${ZSTD_SUFFIX}`, digest, size, annotations }, diffId };
}
