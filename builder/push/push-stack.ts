import { type ImageRecord, type Store, type StoredFile, storedFileOf } from "../../blobd/store/index.ts";
import { writeErofs } from "../../formats/erofs/writer/index.ts";
import { blobsOfLayer } from "../image/index.ts";
import { erofsConfig, type LayerRole } from "./documents.ts";
import { standaloneLayers } from "./push-layers.ts";
import {
  type EncodingOptions,
  manifestOver,
  type PushedManifest,
  type PushProgress,
  pushFile,
  pushInOrder,
} from "./push-manifest.ts";
import type { PushTarget } from "./target.ts";

/**
 * Pushes an image as one file system for each of its layers, for an overlay, in the form of the draft EROFS image specification:
 * each behind its blob, which is the same as in the merged form. The caller puts the manifest.
 * @throws SourceError when the image was not made of layers here; FormatError, StoreError
 */
export async function pushStack(
  store: Store,
  image: ImageRecord,
  options: EncodingOptions,
  target: PushTarget,
  onProgress: PushProgress = () => {},
): Promise<PushedManifest> {
  const files: StoredFile[] = [];
  const roles: LayerRole[] = [];
  const add = (role: LayerRole, file: StoredFile) => {
    roles.push(role);
    files.push(file);
  };
  const systems = await standaloneLayers(store, image);
  for (const [index, { layer, tree }] of systems.entries()) {
    const blobs = new Map(blobsOfLayer(layer).map((blob) => [blob.digestHex, blob]));
    for (const { digestHex } of tree.blobs) add("device", blobs.get(digestHex)!);
    const verity = image.meta.verity !== undefined;
    const meta = await store.putBytes(writeErofs(tree, { layout: "devices" }).meta, { verity });
    add(index < systems.length - 1 ? "lower" : "meta", storedFileOf(meta));
  }
  const layers = await pushInOrder(files, onProgress, (file, index, onBlob) =>
    pushFile(store, roles[index]!, file, options, target, onBlob),
  );
  return manifestOver(image, erofsConfig(image.config, layers), layers, files, target);
}
