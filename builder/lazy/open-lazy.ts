import { statSync } from "node:fs";
import { type Lease, leaseBlobs } from "../../blobd/lease/index.ts";
import { type RetryPolicy, SourceError } from "../../blobd/registry/index.ts";
import { Store, type StoredFile } from "../../blobd/store/index.ts";
import type { ServeRequest } from "../../formats/control/index.ts";
import {
  DocumentError,
  type ErofsLayer,
  erofsImageLayers,
  fitPrefetchList,
  isErofsManifest,
  type Manifest,
  PREFETCH_ANNOTATION,
  type PrefetchRange,
  parsePrefetchList,
} from "../../formats/oci/index.ts";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import { formatSource, type RegistrySpec, type SourceSpec } from "../names/index.ts";
import { type ImageFiles, type OpenedImage, openFiles } from "../open/index.ts";
import { resolvePushed } from "../sources/index.ts";

export interface LazyOptions {
  readonly storeRoot: string;
  readonly retry?: Partial<RetryPolicy>;
  readonly signal: AbortSignal;
  /** What is read of it first is recorded. */
  readonly isRecorded?: boolean;
  /** Told of a prefetch list that is no good: the image is used without. */
  readonly onWarning?: (message: string) => void;
}

/** An image whose blobs come as they are read. */
export interface LazyImage {
  readonly image: OpenedImage;
  /** Holds the blobs' files; it ends with this process at the latest. */
  readonly lease: Lease;
}

/**
 * Opens a pushed image without fetching it: its metadata come first, its blobs are files of `blobd serve`.
 * @throws SourceError, DocumentError, FormatError; the signal's reason
 */
export async function openLazy(spec: SourceSpec, options: LazyOptions): Promise<LazyImage> {
  if (spec.kind !== "registry")
    throw new SourceError(
      "ERR_BAD_SOURCE",
      `${formatSource(spec)}: only an image in a registry can be run before it is here`,
    );
  const { documents, access } = await resolvePushed(spec, options);
  const { manifest, manifestDigest, config } = documents;
  if (!isErofsManifest(manifest)) throw notPushed(spec);
  const { meta, devices } = erofsImageLayers(manifest, config.diffIds);
  const { endpoints, repository } = access;
  const blobs = [{ layer: meta, isWhole: true }, ...devices.map((layer) => ({ layer, isWhole: false }))];
  const request = {
    endpoints,
    repository,
    blobs,
    prefetch: prefetchOf(manifest, blobs, (problem) => options.onWarning?.(`${formatSource(spec)}: ${problem}`)),
    isRecorded: options.isRecorded ?? false,
  };
  const lease = await leaseBlobs(options.storeRoot, request, options);
  try {
    const [metaFile, ...deviceFiles] = lease.blobs;
    const contentHex = (digest: string) => digest.slice("sha256:".length);
    const storedFile = ({ contentDigest, verity }: ErofsLayer, path: string): StoredFile => {
      const { size } = statSync(path);
      const blocks = size / BLOCK_SIZE;
      if (verity !== undefined && verity.dataBlocks >= blocks) throw badTree(spec, contentDigest, blocks);
      return { digestHex: contentHex(contentDigest), size, blocks, ...(verity && { verity }) };
    };
    const files: ImageFiles = {
      metaPath: metaFile!.path,
      devicePaths: deviceFiles.map(({ path }) => path),
      stored: {
        key: contentHex(manifestDigest),
        record: {
          manifestDigest,
          references: [formatSource(spec)],
          meta: storedFile(meta, metaFile!.path),
          blobs: devices.map((layer, i) => storedFile(layer, deviceFiles[i]!.path)),
          layers: [],
          config: JSON.parse(Buffer.from(config.raw).toString()),
          stats: {},
          createdMs: Date.now(),
        },
        layers: [],
      },
    };
    const image = openFiles(formatSource(spec), files);
    checkTags(
      image,
      devices.map(({ contentDigest }) => contentHex(contentDigest)),
      spec,
    );
    if (lease.blobs.every(({ isComplete }) => isComplete)) await remember(options.storeRoot, files);
    const { fetched, trace } = lease;
    return { image: { ...image, fetched, ...(options.isRecorded && { trace }) }, lease };
  } catch (error) {
    lease.end();
    throw error;
  }
}

/** The list that came with the image, of its blobs by their places here. It is a hint: one that is no good is left out. */
function prefetchOf(
  { annotations }: Manifest,
  blobs: ServeRequest["blobs"],
  warn: (problem: string) => void,
): readonly PrefetchRange[] {
  const text = annotations.get(PREFETCH_ANNOTATION);
  if (text === undefined) return [];
  try {
    const list = parsePrefetchList(Buffer.from(text));
    const { ranges, strangers } = fitPrefetchList(
      list,
      blobs.map(({ layer }) => layer.contentDigest),
    );
    if (strangers.length > 0)
      warn(`its prefetch list names ${strangers.length} blobs that are not of this image, such as ${strangers[0]}`);
    return ranges;
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    warn(`its prefetch list is not used: ${error.message}`);
    return [];
  }
}

/** An image that is all here is one of the store: found by its name, and removed by last use like those converted here. */
async function remember(storeRoot: string, { stored }: ImageFiles): Promise<void> {
  const store = await Store.open(storeRoot);
  try {
    if (stored !== undefined) store.putImage(stored.key, stored.record);
  } finally {
    store.close();
  }
}

/** The metadata name their blobs by digest: layers in another order would be another image's files. */
function checkTags(image: OpenedImage, digests: readonly string[], spec: RegistrySpec): void {
  for (const [index, { tag }] of image.reader.devices.entries())
    if (/^[0-9a-f]{64}$/.test(tag) && tag !== digests[index])
      throw new SourceError(
        "ERR_BAD_MANIFEST",
        `${formatSource(spec)}: layer ${index + 1} holds ${digests[index]}, its metadata say ${tag}`,
      );
}

function badTree(spec: RegistrySpec, digest: string, blocks: number): SourceError {
  const message = `${formatSource(spec)}: the hash tree of ${digest} is said to lie behind its ${blocks} blocks`;
  return new SourceError("ERR_BAD_MANIFEST", message);
}

function notPushed(spec: RegistrySpec): SourceError {
  const name = formatSource(spec);
  return new SourceError(
    "ERR_UNSUPPORTED",
    `${name} has layers of tar, which have to be converted: erofsify push ${name} makes a form that can be run before it is here`,
  );
}
