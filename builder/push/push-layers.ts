import { SourceError } from "../../blobd/registry/index.ts";
import {
  type ImageRecord,
  type LayerRecord,
  type Store,
  type StoredFile,
  storedFileOf,
} from "../../blobd/store/index.ts";
import { CONTAINERD_21_LAYER, CONTAINERD_LAYER, type Digest, ZSTD_SUFFIX } from "../../formats/oci/index.ts";
import type { Tree } from "../../formats/tree/index.ts";
import { makeStandalone, metaTree, storeFlat } from "../image/index.ts";
import { encodedAnnotations, type PushedLayer, replacedLayers } from "./documents.ts";
import { type PushListener, pushBlob } from "./push-blob.ts";
import {
  type EncodingOptions,
  encodeOptionsOf,
  manifestOver,
  type PushedManifest,
  type PushProgress,
  pushInOrder,
} from "./push-manifest.ts";
import { pushPlainBlob } from "./push-plain.ts";
import type { PushTarget } from "./target.ts";

/**
 * What containerd's own erofs snapshotter pulls: from 2.3 on `application/vnd.erofs.layer.v1`, also with zstd; 2.1 and 2.2 know
 * layers by a type that ends in `.erofs`, as they are.
 */
export type ContainerdFormat = "containerd" | "containerd-2.1";

/**
 * Pushes an image as one file system for each of its layers, and makes the manifest over them, which the caller puts. The files
 * are made for the push, and go with the store's next prune.
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
  for (const { tree } of await standaloneLayers(store, image))
    files.push(storedFileOf(await storeFlat(store, tree, target.signal)));
  const layers = await pushInOrder(files, onProgress, async (file, _, onBlob) => [
    await pushLayer(store, file, format, options, target, onBlob),
  ]);
  return manifestOver(image, replacedLayers(image.config, layers), layers, files, target);
}

/** The image's layers, lowest first, as overlayfs puts them together. @throws SourceError, FormatError */
export async function standaloneLayers(
  store: Store,
  image: ImageRecord,
): Promise<{ layer: LayerRecord; tree: Tree }[]> {
  if (image.layers.length === 0)
    throw new SourceError("ERR_UNSUPPORTED", `${image.references.at(-1)} has no layers: push it without --format`);
  const layers = [];
  for (const key of image.layers) {
    const layer = await store.getLayer(key);
    if (layer === undefined)
      throw new SourceError("ERR_NOT_FOUND", `layer ${key} is no longer in ${store.root}: use --pull`);
    layers.push({ layer, tree: metaTree(store, layer.meta) });
  }
  makeStandalone(layers.map(({ tree }) => tree));
  return layers;
}

async function pushLayer(
  store: Store,
  file: StoredFile,
  format: ContainerdFormat,
  options: EncodingOptions,
  target: PushTarget,
  onProgress: PushListener,
): Promise<PushedLayer> {
  const diffId: Digest = `sha256:${file.digestHex}`;
  const encode = encodeOptionsOf(options);
  if (format === "containerd-2.1" || options.compression === "none") {
    await pushPlainBlob(store, file, encode.chunkBytes, target, onProgress);
    const mediaType = format === "containerd-2.1" ? CONTAINERD_21_LAYER : CONTAINERD_LAYER;
    return { descriptor: { mediaType, digest: diffId, size: file.size, annotations: {} }, diffId };
  }
  const encoded = await pushBlob(store, file, encode, target, onProgress);
  const { digest, size } = encoded;
  const annotations = encodedAnnotations(diffId, encoded);
  return { descriptor: { mediaType: `${CONTAINERD_LAYER}${ZSTD_SUFFIX}`, digest, size, annotations }, diffId };
}
