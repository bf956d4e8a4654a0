/**
 * EROFS images in a registry, as the draft EROFS image specification has them (erofs/erofs-image-spec, spec.md): media
 * types, annotations, and which layer is a device of which.
 */
import { VERITY_BLOCK, type VerityRoot } from "../verity/index.ts";
import { type Digest, isDigest } from "./digest.ts";
import { DocumentError } from "./document.ts";
import { type Descriptor, MAX_BLOB_BYTES, type Manifest } from "./manifest.ts";

/** An EROFS file system (spec.md, 2.1); `+zstd` when it is compressed. */
export const EROFS_LAYER = "application/vnd.erofs";
/** A chunk index, as a layer of its own or as part of one (2.2). */
export const EROFS_CHUNK_INDEX = "application/vnd.erofs.chunk-index.v1";
/** File data without a file system around them: what a device layer of ours is (2.4 allows any type). */
export const DATA_LAYER = "application/octet-stream";
/** Added to a layer's type when its content is compressed (RFC 8478 and spec.md, 2.1). */
export const ZSTD_SUFFIX = "+zstd";
/** In `os.features` of configs and index entries (5.4). */
export const EROFS_FEATURE = "erofs";

/** A layer as containerd's erofs differ takes it from 2.3 on, also with `+zstd` (containerd, core/images/mediatypes.go). */
export const CONTAINERD_LAYER = "application/vnd.erofs.layer.v1";
/** The same for 2.1 and 2.2: a layer by its beginning, EROFS by its end, never with a suffix (containerd 2.1, plugins/diff/erofs). */
export const CONTAINERD_21_LAYER = "application/vnd.oci.image.layer.v1.erofs";
/** `artifactType` of a converted image that is attached to its source: what referrers are filtered by. Ours, not the draft's. */
export const EROFS_ARTIFACT = "application/vnd.erofs.image.v1";
/** Annotation of a converted image's manifest: digest of the manifest that it was made of. Ours, not the draft's. */
export const SOURCE_ANNOTATION = "io.erofsify.source.digest";

/** Annotations of layer descriptors (2.3). */
export const EROFS_ANNOTATIONS = {
  role: "org.erofs.role",
  uncompressedDigest: "org.erofs.uncompressed-digest",
  chunkIndexRange: "org.erofs.chunk-index.range",
  chunkIndexDigest: "org.erofs.chunk-index.digest",
  chunkIndexMediaType: "org.erofs.chunk-index.mediaType",
  chunkIndexTarget: "org.erofs.chunk-index.target",
  verityHashOffset: "org.erofs.dmverity.hash_offset",
  verityRootDigest: "org.erofs.dmverity.root_digest",
  verityBlockSize: "org.erofs.dmverity.block_size",
} as const;

/** The index within a blob, or as a blob of its own. */
export interface ChunkIndexLocation {
  /** The blob that holds it. */
  readonly blob: Digest;
  /** Of that blob: from the first byte of the frame around the index, or of the index itself when there is none. */
  readonly start: number;
  readonly end: number;
  readonly framed: boolean;
  /** Of the index without its frame. */
  readonly digest: Digest | undefined;
}

/** A layer whose content is used as it is: a device or a file system. */
export interface ErofsLayer {
  readonly descriptor: Descriptor;
  readonly compression: "none" | "zstd";
  /** Digest of the content, by which it is known in stores. */
  readonly contentDigest: Digest;
  /** Absent: the layer can be read from start to end only. */
  readonly chunkIndex: ChunkIndexLocation | undefined;
  /** The hash tree that the content ends with (3.5); absent also when its blocks are not of 4096 bytes. */
  readonly verity?: VerityRoot;
}

/** An image of one file system over its devices. */
export interface ErofsImageLayers {
  readonly meta: ErofsLayer;
  /** In the order of the file system's device table. */
  readonly devices: readonly ErofsLayer[];
}

/** Whether the manifest has EROFS layers, and so is no source of tars. */
export function isErofsManifest(manifest: Manifest): boolean {
  return manifest.layers.some(({ mediaType }) => bare(mediaType) === EROFS_LAYER);
}

/**
 * The layers of an image that is one EROFS file system with devices.
 *
 * @param diffIds of the image's config, for layers that do not tell their content's digest themselves
 * @throws DocumentError ERR_UNSUPPORTED for images of several file systems, ERR_BAD_VALUE for an order or annotations that
 *   the specification forbids
 */
export function erofsImageLayers(manifest: Manifest, diffIds: readonly Digest[]): ErofsImageLayers {
  const stack = erofsStackLayers(manifest, diffIds);
  if (stack.length === 1) return stack[0]!;
  throw new DocumentError(
    "ERR_UNSUPPORTED",
    "manifest.layers",
    `found ${stack.length} file systems for an overlay, expected one over its devices; fetched whole, without --lazy, they are merged`,
  );
}

/**
 * The file systems of an image, lowest first, each with its devices: an overlay puts them over each other (spec.md, 3.8 and 7).
 *
 * @param diffIds as above
 * @throws DocumentError ERR_UNSUPPORTED for roles that only an overlay of the kernel's can play, ERR_BAD_VALUE as above
 */
export function erofsStackLayers(manifest: Manifest, diffIds: readonly Digest[]): readonly ErofsImageLayers[] {
  const { layers } = manifest;
  const stack: ErofsImageLayers[] = [];
  let devices: ErofsLayer[] = [];
  for (let i = 0; i < layers.length; i++) {
    const path = `manifest.layers[${i}]`;
    const descriptor = layers[i]!;
    if (descriptor.mediaType === EROFS_CHUNK_INDEX) {
      // It belongs to the layer before it, which has taken it.
      if (i === 0 || i === layers.length - 1)
        throw new DocumentError(
          "ERR_BAD_VALUE",
          path,
          "a chunk index comes first or last, expected it behind its layer",
        );
      continue;
    }
    const layer = erofsLayer(descriptor, layers[i + 1], diffIds[i], path);
    const role = descriptor.annotations.get(EROFS_ANNOTATIONS.role);
    if (role === "device") devices.push(layer);
    else if (role !== undefined && role !== "overlay-lower")
      throw new DocumentError(
        "ERR_UNSUPPORTED",
        path,
        `found the role ${JSON.stringify(role.slice(0, 100))}, expected device, overlay-lower or none`,
      );
    else if (bare(descriptor.mediaType) !== EROFS_LAYER)
      throw new DocumentError("ERR_BAD_VALUE", path, `found ${descriptor.mediaType}, expected ${EROFS_LAYER}`);
    else {
      stack.push({ meta: layer, devices });
      devices = [];
    }
  }
  if (stack.length === 0 || devices.length > 0)
    throw new DocumentError("ERR_BAD_VALUE", "manifest.layers", "has no file system behind its devices");
  return stack;
}

function erofsLayer(
  descriptor: Descriptor,
  next: Descriptor | undefined,
  diffId: Digest | undefined,
  path: string,
): ErofsLayer {
  const compression = compressionOf(descriptor.mediaType);
  const stated = digestAnnotation(descriptor, EROFS_ANNOTATIONS.uncompressedDigest, path) ?? diffId;
  const contentDigest = compression === "none" ? descriptor.digest : stated;
  if (contentDigest === undefined)
    throw new DocumentError(
      "ERR_BAD_VALUE",
      path,
      `has no annotation ${EROFS_ANNOTATIONS.uncompressedDigest} and no diff id`,
    );
  const chunkIndex = embeddedIndex(descriptor, compression, path) ?? standaloneIndex(descriptor, next, path);
  const verity = verityOf(descriptor, path);
  return { descriptor, compression, contentDigest, chunkIndex, ...(verity && { verity }) };
}

/** The annotations of a layer that ends with a hash tree. */
export function verityAnnotations({ dataBlocks, rootHex }: VerityRoot): Readonly<Record<string, string>> {
  return {
    [EROFS_ANNOTATIONS.verityHashOffset]: String(dataBlocks * VERITY_BLOCK),
    [EROFS_ANNOTATIONS.verityRootDigest]: `sha256:${rootHex}`,
    [EROFS_ANNOTATIONS.verityBlockSize]: String(VERITY_BLOCK),
  };
}

function verityOf({ annotations }: Descriptor, path: string): VerityRoot | undefined {
  const offsetText = annotations.get(EROFS_ANNOTATIONS.verityHashOffset);
  const rootText = annotations.get(EROFS_ANNOTATIONS.verityRootDigest);
  if (offsetText === undefined && rootText === undefined) return undefined;
  // Digests of another algorithm, and blocks of another size, are none to us.
  if (rootText !== undefined && /^[a-z0-9]+:[0-9a-f]{32,128}$/.test(rootText) && !isDigest(rootText)) return undefined;
  const blockSize = annotations.get(EROFS_ANNOTATIONS.verityBlockSize) ?? String(VERITY_BLOCK);
  if (blockSize !== String(VERITY_BLOCK) && /^\d{1,15}$/.test(blockSize)) return undefined;
  const offset = /^\d{1,15}$/.test(offsetText ?? "") ? Number(offsetText) : Number.NaN;
  if (!(offset > 0 && offset < MAX_BLOB_BYTES && offset % VERITY_BLOCK === 0))
    throw badVerity(path, "verityHashOffset", offsetText, `a multiple of ${VERITY_BLOCK}`);
  if (rootText === undefined || !isDigest(rootText))
    throw badVerity(path, "verityRootDigest", rootText, "a sha256 digest");
  if (blockSize !== String(VERITY_BLOCK)) throw badVerity(path, "verityBlockSize", blockSize, "a number");
  return { dataBlocks: offset / VERITY_BLOCK, rootHex: rootText.slice("sha256:".length) };
}

function badVerity(
  path: string,
  name: keyof typeof EROFS_ANNOTATIONS,
  found: string | undefined,
  expected: string,
): DocumentError {
  const text = found === undefined ? "nothing" : JSON.stringify(found.slice(0, 100));
  return new DocumentError(
    "ERR_BAD_VALUE",
    `${path}.annotations.${EROFS_ANNOTATIONS[name]}`,
    `found ${text}, expected ${expected}`,
  );
}

function embeddedIndex(
  descriptor: Descriptor,
  compression: "none" | "zstd",
  path: string,
): ChunkIndexLocation | undefined {
  const { annotations, digest, size } = descriptor;
  const range = annotations.get(EROFS_ANNOTATIONS.chunkIndexRange);
  const mediaType = annotations.get(EROFS_ANNOTATIONS.chunkIndexMediaType) ?? EROFS_CHUNK_INDEX;
  // An index of another kind is none to us: the specification wants it so.
  if (range === undefined || mediaType !== EROFS_CHUNK_INDEX) return undefined;
  const match = /^(\d{1,15})(?::(\d{1,15}))?$/.exec(range);
  const start = Number(match?.[1] ?? Number.NaN);
  const end = match?.[2] === undefined ? size : Number(match[2]);
  if (!(start < end && end <= size))
    throw new DocumentError(
      "ERR_BAD_VALUE",
      `${path}.annotations.${EROFS_ANNOTATIONS.chunkIndexRange}`,
      `found ${JSON.stringify(range.slice(0, 100))}, expected START[:END] within the ${size} bytes of the layer`,
    );
  const indexDigest = digestAnnotation(descriptor, EROFS_ANNOTATIONS.chunkIndexDigest, path);
  return { blob: digest, start, end, framed: compression === "zstd", digest: indexDigest };
}

function standaloneIndex(
  descriptor: Descriptor,
  next: Descriptor | undefined,
  path: string,
): ChunkIndexLocation | undefined {
  if (next?.mediaType !== EROFS_CHUNK_INDEX) return undefined;
  const target = next.annotations.get(EROFS_ANNOTATIONS.chunkIndexTarget);
  if (target !== undefined && target !== descriptor.digest)
    throw new DocumentError(
      "ERR_BAD_VALUE",
      path,
      `the chunk index behind it is for ${JSON.stringify(target.slice(0, 100))}, expected ${descriptor.digest}`,
    );
  return { blob: next.digest, start: 0, end: next.size, framed: false, digest: next.digest };
}

function digestAnnotation(descriptor: Descriptor, name: string, path: string): Digest | undefined {
  const text = descriptor.annotations.get(name);
  if (text === undefined || isDigest(text)) return text;
  const found = JSON.stringify(text.slice(0, 100));
  throw new DocumentError("ERR_BAD_VALUE", `${path}.annotations.${name}`, `found ${found}, expected a sha256 digest`);
}

function compressionOf(mediaType: string): "none" | "zstd" {
  return mediaType.endsWith(ZSTD_SUFFIX) ? "zstd" : "none";
}

function bare(mediaType: string): string {
  return mediaType.endsWith(ZSTD_SUFFIX) ? mediaType.slice(0, -ZSTD_SUFFIX.length) : mediaType;
}
