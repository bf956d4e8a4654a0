/** File systems that an overlay would put over each other, as one: the store's images have one. */
import { SourceError } from "../../blobd/registry/index.ts";
import type { Store, StoredFile } from "../../blobd/store/index.ts";
import { ErofsWriteError } from "../../formats/erofs/writer/index.ts";
import { digestHex, type ErofsImageLayers } from "../../formats/oci/index.ts";
import type { Tree } from "../../formats/tree/index.ts";
import { heapBytesOf, type MergedImage, mergeTrees, requireHeap } from "../image/index.ts";
import { type OpenedImage, openFiles } from "../open/index.ts";
import { checkTags } from "../pushed/index.ts";

/**
 * Merges file systems that are in the store. Their data stay where they are: a file system that holds data itself becomes a device
 * of the merged one.
 * @param stack lowest first
 * @param files all their files: of each its devices, then itself
 * @throws SourceError, FormatError, MergeError, ImageError, StoreError
 */
export async function mergeStack(
  store: Store,
  name: string,
  stack: readonly ErofsImageLayers[],
  files: readonly StoredFile[],
): Promise<MergedImage> {
  const trees: Tree[] = [];
  let [at, inodes] = [0, 0];
  for (const layers of stack) {
    const own = files.slice(at, at + layers.devices.length + 1);
    at += own.length;
    const image = openFiles(name, {
      metaPath: store.blobPath(own.at(-1)!.digestHex),
      devicePaths: own.slice(0, -1).map((file) => store.blobPath(file.digestHex)),
    });
    try {
      inodes += image.reader.superblock.inos;
      requireHeap(inodes, heapBytesOf(inodes));
      trees.push(treeOf(image, layers, own, name));
    } finally {
      image.close();
    }
  }
  const verity = files.every((file) => file.verity !== undefined);
  try {
    return await mergeTrees(store, trees, files, verity);
  } catch (error) {
    // What EROFS can hold and this writer cannot, such as a file's end beside its inode.
    if (!(error instanceof ErofsWriteError)) throw error;
    throw new SourceError("ERR_UNSUPPORTED", `${name} cannot be merged: ${error.message}`, { cause: error });
  }
}

/** @param files the devices, then the file system */
function treeOf(image: OpenedImage, layers: ErofsImageLayers, files: readonly StoredFile[], name: string): Tree {
  const { devices } = image.reader;
  const digest = digestHex(layers.meta.contentDigest);
  // Such as one whose devices are parts of itself.
  if (devices.length !== layers.devices.length)
    throw new SourceError(
      "ERR_UNSUPPORTED",
      `${name}: ${digest} names ${devices.length} devices, expected the ${layers.devices.length} of its manifest`,
    );
  checkTags(image, layers, name);
  const { root, blobs } = image.reader.toTree();
  for (const [i, { blocks }] of blobs.entries())
    if (blocks > files[i]!.blocks)
      throw new SourceError(
        "ERR_BAD_MANIFEST",
        `${name}: ${digest} names ${blocks} blocks of ${files[i]!.digestHex}, which has ${files[i]!.blocks}`,
      );
  return { root, blobs: blobs.map(({ blocks }, i) => ({ digestHex: files[i]!.digestHex, blocks })) };
}
