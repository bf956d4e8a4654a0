import { basename } from "node:path";

/** What the metadata is called among an image's files. */
const META_NAME = "image.erofs";

/** An image's files as a guest gets them: its metadata, and blobs by their digests, in the order of the device table. */
export function blobEntries(
  metaPath: string,
  devicePaths: readonly string[],
): { readonly name: string; readonly path: string }[] {
  return [{ name: META_NAME, path: metaPath }, ...devicePaths.map((path) => ({ name: basename(path), path }))];
}
