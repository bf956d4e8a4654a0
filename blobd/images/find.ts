import { existsSync, realpathSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { FormatError } from "../../formats/bytes/index.ts";
import { formatReference, parseReference } from "../../formats/oci/index.ts";
import { type FoundImage, Store } from "../store/index.ts";
import { readDevices } from "./devices.ts";

/** Where `erofsify -o` puts the metadata. */
const EXPORT_META = "image.erofs";
const IS_HEX = /^[0-9a-f]{64}$/;

export interface ImageFiles {
  readonly metaPath: string;
  /** Blobs in the order of the device table; empty for a flat image. */
  readonly devicePaths: readonly string[];
}

/** What was found; to be let go when the files are open, or used no longer. */
export interface FoundFiles extends ImageFiles {
  close(): void;
}

/** There is no such image, or a part of it is missing. */
export class ImageNotFound extends Error {
  override readonly name = "ImageNotFound";
}

/**
 * The files of an image, by what a user calls it: a file, a folder written by `erofsify -o`, or the name of an image in the
 * store. The store is held open meanwhile: nobody prunes the files.
 *
 * @param blobFolders where blobs are looked for besides, by their digests
 * @throws ImageNotFound, FormatError for a file that is no image, StoreError
 */
export async function findImageFiles(
  target: string,
  storeRoot: string,
  blobFolders: readonly string[] = [],
): Promise<FoundFiles> {
  if (existsSync(target)) {
    const path = realpathSync(target);
    const metaPath = statSync(path).isDirectory() ? join(path, EXPORT_META) : path;
    if (!existsSync(metaPath)) throw new ImageNotFound(`${target} holds no ${EXPORT_META}`);
    return { metaPath, devicePaths: devicesOf(metaPath, blobFolders), close: () => {} };
  }
  if (!existsSync(storeRoot)) throw new ImageNotFound(`no file ${target}, and no store at ${storeRoot}`);
  const store = await Store.open(storeRoot);
  try {
    const found = newest(store.listImages().filter((image) => isNamed(image, target)));
    const record = found && (await store.getImage(found.key));
    if (record === undefined) throw new ImageNotFound(`no file ${target}, and no image of that name in ${storeRoot}`);
    return {
      metaPath: store.blobPath(record.meta.digestHex),
      devicePaths: record.blobs.map(({ digestHex }) => store.blobPath(digestHex)),
      close: () => store.close(),
    };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** A tag that moved names several images: the one that was converted last is meant. */
function newest(images: readonly FoundImage[]): FoundImage | undefined {
  return [...images].sort((a, b) => b.record.createdMs - a.record.createdMs)[0];
}

function isNamed({ key, record }: FoundImage, target: string): boolean {
  const names = [target, fullName(target)];
  return key === target || record.manifestDigest === target || names.some((name) => record.references.includes(name));
}

function fullName(target: string): string {
  try {
    return formatReference(parseReference(target));
  } catch (error) {
    if (error instanceof FormatError) return target;
    throw error;
  }
}

/** The blobs that an image names, beside it or in one of the folders; none when it is flat. */
function devicesOf(metaPath: string, folders: readonly string[]): readonly string[] {
  const { devices, isFlat } = readDevices(metaPath);
  if (isFlat) return [];
  const places = [...folders, join(dirname(metaPath), "blobs", "sha256"), dirname(metaPath)];
  return devices.map(({ tag }) => {
    const path = places.map((place) => join(place, tag)).find((each) => IS_HEX.test(tag) && existsSync(each));
    if (path === undefined) throw new ImageNotFound(`${metaPath} needs the blob ${tag}, which is not in ${places[0]}`);
    return path;
  });
}
