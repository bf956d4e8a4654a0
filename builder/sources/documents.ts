import { checkContent, type Expected, parsed, SourceError } from "../../blobd/registry/index.ts";
import {
  type Digest,
  formatPlatform,
  type ImageConfig,
  type Index,
  isForeignLayer,
  isImageConfig,
  layerCompression,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  offeredPlatforms,
  type Platform,
  parseImageConfig,
  parseManifest,
  platformFit,
  selectEntry,
} from "../../formats/oci/index.ts";
import type { LayerInfo } from "./image.ts";

/** A manifest and what came with it. */
export interface ImageDocuments {
  readonly manifestDigest: Digest;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
}

/** Small documents of one image, by digest: a repository, a layout. */
export interface DocumentStore {
  /** For errors: the image as the user named it. */
  readonly name: string;
  /** The manifest or index that the user named, and its digest. */
  root(): Promise<{ document: Manifest | Index; digest: Digest }>;
  /** A manifest or index listed in an index. The caller checks size and digest. */
  manifest(descriptor: Expected): Promise<Uint8Array>;
  /** A config blob. The caller checks size and digest. */
  blob(descriptor: Expected): Promise<Uint8Array>;
}

/** Indexes inside indexes: Docker writes none, containerd's export one. */
const MAX_INDEX_DEPTH = 3;

/**
 * Finds the image for `platform`, through indexes, and reads its manifest and config.
 * @throws SourceError
 */
export async function readDocuments(store: DocumentStore, platform: Platform): Promise<ImageDocuments> {
  let { document, digest } = await store.root();
  for (let depth = 0; document.kind === "index"; depth++) {
    if (depth === MAX_INDEX_DEPTH)
      throw new SourceError(
        "ERR_BAD_MANIFEST",
        `${store.name}: more than ${MAX_INDEX_DEPTH} indexes inside each other`,
      );
    const entry = selectEntry(document, platform) ?? noSuchPlatform(store.name, document, platform);
    limit(store.name, entry, MAX_MANIFEST_BYTES);
    const bytes = checkContent(await store.manifest(entry), entry, `${store.name}: manifest ${entry.digest}`);
    document = parsed(store.name, () => parseManifest(bytes, entry.mediaType));
    digest = entry.digest;
  }
  const manifest = document;
  if (!isImageConfig(manifest.config.mediaType))
    throw new SourceError(
      "ERR_UNSUPPORTED",
      `${store.name} is an artifact (its config is a ${manifest.config.mediaType}), not a container image`,
    );
  limit(store.name, manifest.config, MAX_CONFIG_BYTES);
  const what = `${store.name}: config ${manifest.config.digest}`;
  const configBytes = checkContent(await store.blob(manifest.config), manifest.config, what);
  const config = parsed(store.name, () => parseImageConfig(configBytes));
  checkPlatform(store.name, config.platform, platform);
  return { manifestDigest: digest, manifest, config };
}

/**
 * The layers of an image, bottom first.
 * @throws SourceError ERR_UNSUPPORTED for layers that are no tars, ERR_BAD_MANIFEST when the config counts differently
 */
export function layersOf(name: string, manifest: Manifest, config: ImageConfig): LayerInfo[] {
  const { layers } = manifest;
  if (config.diffIds.length !== layers.length)
    throw new SourceError(
      "ERR_BAD_MANIFEST",
      `${name}: the manifest has ${layers.length} layers, the config ${config.diffIds.length} (rootfs.diff_ids)`,
    );
  return layers.map(({ digest, size, mediaType, urls }, i) => {
    const compression = layerCompression(mediaType);
    if (compression === undefined)
      throw new SourceError(
        "ERR_UNSUPPORTED",
        `${name}: layer ${i + 1} of ${layers.length} is a ${mediaType}, expected a tar, plain or with gzip or zstd`,
      );
    const foreign = isForeignLayer(mediaType) && urls.length > 0;
    return { digest, size, mediaType, compression, diffId: config.diffIds[i]!, ...(foreign && { urls }) };
  });
}

/** @throws SourceError ERR_PLATFORM when the image is for another machine than the one asked for */
export function checkPlatform(name: string, offered: Platform, wanted: Platform): void {
  if (offered.os === "" || offered.architecture === "" || platformFit(offered, wanted) > 0) return;
  const has = formatPlatform(offered);
  throw new SourceError(
    "ERR_PLATFORM",
    `${name} is an image for ${has}, not for ${formatPlatform(wanted)}; use --platform ${has} to convert it all the same`,
  );
}

function noSuchPlatform(name: string, index: Index, wanted: Platform): never {
  const offered = offeredPlatforms(index);
  const asked = formatPlatform(wanted);
  if (offered.length === 0)
    throw new SourceError("ERR_PLATFORM", `${name}: its index lists no image with tar layers, asked for ${asked}`);
  throw new SourceError(
    "ERR_PLATFORM",
    `${name} has no image for ${asked}; choose with --platform among ${offered.join(", ")}`,
  );
}

function limit(name: string, { digest, size }: Expected, most: number): void {
  if (size > most)
    throw new SourceError("ERR_LIMIT", `${name}: ${digest} is ${size} bytes long, at most ${most} are accepted`);
}
