import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { type FoundImage, type ImageRecord, type LayerRecord, Store } from "../../blobd/store/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import { type ErofsReader, openErofs } from "../../formats/erofs/index.ts";
import type { PrefetchList } from "../../formats/oci/index.ts";
import type { VerityRoot } from "../../formats/verity/index.ts";
import { formatSource, parseSource } from "../names/index.ts";
import { type FileSource, openFileSource } from "./file-source.ts";

/** Where an exported image keeps its metadata. */
export const EXPORT_META = "image.erofs";

/** No such image, not an image, or a part of it is missing: what was looked for and where. */
export class ImageError extends Error {
  override readonly name = "ImageError";
  readonly code: "ERR_NO_IMAGE" | "ERR_NO_BLOB" | "ERR_BAD_IMAGE";

  constructor(code: ImageError["code"], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Where the parts of an image are. */
export interface ImageFiles {
  readonly metaPath: string;
  /** Blobs in the order of the device table; empty for a flat image, whose data is in the meta file. */
  readonly devicePaths: readonly string[];
  /** When it came from the store: its key, its record and its layers' records, bottom first. */
  readonly stored?: { readonly key: string; readonly record: ImageRecord; readonly layers: readonly LayerRecord[] };
}

export interface OpenedImage extends ImageFiles {
  readonly reader: ErofsReader;
  readonly meta: FileSource;
  readonly devices: readonly FileSource[];
  /** What has been fetched of it, when it is fetched as it is read. */
  readonly fetched?: () => Promise<{ readonly chunks: number; readonly storedBytes: number } | undefined>;
  /** What has been read of it, in the order of first access, when that is recorded. */
  readonly trace?: () => Promise<PrefetchList>;
  close(): void;
}

/** Whether it is known of every file which dm-verity root it must have. */
export function hasVerity({ stored }: ImageFiles): boolean {
  return stored !== undefined && [stored.record.meta, ...stored.record.blobs].every(({ verity }) => verity);
}

/** The roots of all files' hash trees, metadata first. @throws ImageError when one has none, or none that is known */
export function verityRoots({ stored, metaPath }: ImageFiles): VerityRoot[] {
  const files = stored === undefined ? [undefined] : [stored.record.meta, ...stored.record.blobs];
  return files.map((file) => {
    if (file?.verity !== undefined) return file.verity;
    throw new ImageError(
      "ERR_BAD_IMAGE",
      file === undefined
        ? `${metaPath} is not of the store: nobody tells which digests it must have`
        : `${file.digestHex} has no hash tree: convert the image with --verity`,
    );
  });
}

export interface OpenImageOptions {
  readonly storeRoot: string;
  /** Blobs given by hand. */
  readonly devicePaths?: readonly string[];
  /** Told of records and blobs of the store that are no good. */
  readonly onWarning?: (message: string) => void;
}

/**
 * Opens an image by what a user calls it: a file, an export folder, or a name of an image in the store.
 * @throws ImageError, FormatError, StoreError
 */
export async function openImage(target: string, options: OpenImageOptions): Promise<OpenedImage> {
  const opened: { close(): void }[] = [];
  const close = () => {
    for (const source of opened) source.close();
  };
  try {
    let files: ImageFiles;
    if (existsSync(target)) files = filesAt(target);
    else {
      // Looking for an image makes no store.
      if (!existsSync(options.storeRoot)) throw noImage(target, options.storeRoot);
      // The store stays open as long as its files are used by name: nobody prunes them meanwhile.
      const store = await Store.open(options.storeRoot, options.onWarning && { onWarning: options.onWarning });
      opened.push(store);
      files = await filesInStore(target, store);
    }
    const image = openFiles(target, files, options.devicePaths);
    opened.push(image);
    return { ...image, close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Opens an image whose files are known.
 * @param target what it is called, for errors
 * @param given its blobs as a user names them
 * @throws ImageError, FormatError
 */
export function openFiles(target: string, files: ImageFiles, given?: readonly string[]): OpenedImage {
  const opened: { close(): void }[] = [];
  const close = () => {
    for (const source of opened) source.close();
  };
  try {
    const meta = openFileSource(files.metaPath);
    opened.push(meta);
    const reader = openReader(meta);
    const devicePaths = given ?? blobPaths(files, reader, meta);
    if (devicePaths.length > 0 && devicePaths.length !== reader.devices.length)
      throw new ImageError(
        "ERR_NO_BLOB",
        `${target} has ${reader.devices.length} blobs, ${devicePaths.length} were given${given ? " with --device" : ""}`,
      );
    const devices = devicePaths.map((path) => {
      const source = openFileSource(path);
      opened.push(source);
      return source;
    });
    return { ...files, devicePaths, reader, meta, devices, close };
  } catch (error) {
    close();
    throw error;
  }
}

function openReader(meta: FileSource): ErofsReader {
  try {
    return openErofs(meta);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new ImageError("ERR_BAD_IMAGE", `${meta.path} is no EROFS image that can be read: ${error.message}`, {
      cause: error,
    });
  }
}

function filesAt(path: string): ImageFiles {
  const metaPath = statSync(path).isDirectory() ? join(path, EXPORT_META) : path;
  if (!existsSync(metaPath))
    throw new ImageError("ERR_NO_IMAGE", `${path} holds no ${EXPORT_META}: not a folder written by erofsify -o`);
  return { metaPath, devicePaths: [] };
}

/** Looks for each blob of the device table beside the meta; a flat image holds them itself. */
function blobPaths(files: ImageFiles, reader: ErofsReader, meta: FileSource): readonly string[] {
  if (files.devicePaths.length > 0) return files.devicePaths;
  const last = reader.devices.at(-1);
  if (last === undefined || (last.mappedBlkAddr > 0 && (last.mappedBlkAddr + last.blocks) * 4096 <= meta.size))
    return [];
  const folder = dirname(files.metaPath);
  return reader.devices.map(({ tag }) => {
    const candidates = [join(folder, "blobs", "sha256", tag), join(folder, tag)];
    const found = candidates.find((path) => /^[0-9a-f]{64}$/.test(tag) && existsSync(path));
    if (found === undefined)
      throw new ImageError(
        "ERR_NO_BLOB",
        `${files.metaPath} needs the blob ${tag}, looked for ${candidates[0]}; name its blobs with --device`,
      );
    return found;
  });
}

/** The key of an image in the store; no image has such a name. */
const IMAGE_KEY = /^[0-9a-f]{64}$/;

/** An image of the store by one of its names, its manifest's digest or its key. @throws ImageError, StoreError */
export async function findStored(target: string, store: Store): Promise<{ key: string; record: ImageRecord }> {
  const name = IMAGE_KEY.test(target) ? target : formatSource(parseSource(target));
  const isNamed = ({ key, record }: FoundImage) =>
    key === target || record.manifestDigest === target || record.references.includes(name);
  // A tag that moved names several images: the one that was converted last is meant.
  const [found] = store
    .listImages()
    .filter(isNamed)
    .sort((a, b) => b.record.createdMs - a.record.createdMs);
  const record = found && (await store.getImage(found.key));
  if (found === undefined || record === undefined) throw noImage(target, store.root);
  return { key: found.key, record };
}

async function filesInStore(target: string, store: Store): Promise<ImageFiles> {
  const { key, record } = await findStored(target, store);
  const layers = await Promise.all(record.layers.map((key) => store.getLayer(key)));
  return {
    metaPath: store.blobPath(record.meta.digestHex),
    devicePaths: record.blobs.map(({ digestHex }) => store.blobPath(digestHex)),
    stored: { key, record, layers: layers.filter((layer) => layer !== undefined) },
  };
}

function noImage(target: string, storeRoot: string): ImageError {
  return new ImageError(
    "ERR_NO_IMAGE",
    `no file ${target}, and no image of that name in the store ${storeRoot}; convert it first: erofsify ${target}`,
  );
}
