import { type FetchedManifest, sha256 } from "../../blobd/registry/index.ts";
import type { StoredFile } from "../../blobd/store/index.ts";
import {
  DATA_LAYER,
  type Digest,
  EROFS_ANNOTATIONS,
  EROFS_ARTIFACT,
  EROFS_CHUNK_INDEX,
  EROFS_FEATURE,
  EROFS_LAYER,
  formatPrefetchList,
  OCI_CONFIG,
  OCI_MANIFEST,
  PREFETCH_ANNOTATION,
  type PrefetchList,
  SOURCE_ANNOTATION,
  verityAnnotations,
  ZSTD_SUFFIX,
} from "../../formats/oci/index.ts";
import type { EncodedBlob } from "./encode-blob.ts";

/** A layer's descriptor, and the digest of its content. */
export interface PushedLayer {
  readonly descriptor: {
    readonly mediaType: string;
    readonly digest: Digest;
    readonly size: number;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly diffId: Digest;
}

/** A manifest as others name it. */
export interface ManifestDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** How others name a manifest or index that was fetched. */
export function descriptorOf({ document, digest, bytes }: FetchedManifest): ManifestDescriptor {
  return { mediaType: document.mediaType, digest, size: bytes.length };
}

/** `device`: file data, found by a file system behind it; `lower`: a file system below others; `meta`: the only or topmost one. */
export type LayerRole = "device" | "lower" | "meta";

/** A compressed layer. */
export function compressedLayer(role: LayerRole, file: StoredFile, encoded: EncodedBlob): PushedLayer {
  const diffId: Digest = `sha256:${file.digestHex}`;
  const { digest, size } = encoded;
  const annotations = { ...roleOf(role), ...encodedAnnotations(diffId, encoded), ...verityOf(file) };
  return { descriptor: { mediaType: `${typeOf(role)}${ZSTD_SUFFIX}`, digest, size, annotations }, diffId };
}

/** What a compressed layer says of its content and its chunk index. */
export function encodedAnnotations(
  diffId: Digest,
  { size, indexStart, indexDigest }: EncodedBlob,
): Readonly<Record<string, string>> {
  return {
    [EROFS_ANNOTATIONS.uncompressedDigest]: diffId,
    [EROFS_ANNOTATIONS.chunkIndexRange]: `${indexStart}:${size}`,
    [EROFS_ANNOTATIONS.chunkIndexDigest]: indexDigest,
  };
}

/** A layer that is the store's file as it is. */
export function plainLayer(role: LayerRole, file: StoredFile): PushedLayer {
  const digest: Digest = `sha256:${file.digestHex}`;
  const annotations = { ...roleOf(role), ...verityOf(file) };
  return { descriptor: { mediaType: typeOf(role), digest, size: file.size, annotations }, diffId: digest };
}

/** The chunk index of the layer before it. */
export function indexLayer(of: PushedLayer, index: Uint8Array): PushedLayer {
  const digest = sha256(index);
  const annotations = { [EROFS_ANNOTATIONS.chunkIndexTarget]: of.descriptor.digest };
  return { descriptor: { mediaType: EROFS_CHUNK_INDEX, digest, size: index.length, annotations }, diffId: digest };
}

function roleOf(role: LayerRole): Readonly<Record<string, string>> {
  return role === "meta" ? {} : { [EROFS_ANNOTATIONS.role]: role === "lower" ? "overlay-lower" : role };
}

function verityOf({ verity }: StoredFile): Readonly<Record<string, string>> {
  return verity === undefined ? {} : verityAnnotations(verity);
}

function typeOf(role: LayerRole): string {
  return role === "device" ? DATA_LAYER : EROFS_LAYER;
}

/** The image's config, its layers exchanged for these. Keys keep their order, so that equal input gives equal bytes. */
export function erofsConfig(config: unknown, layers: readonly PushedLayer[]): Buffer {
  const source = config as Record<string, unknown>;
  const features = Array.isArray(source["os.features"]) ? (source["os.features"] as unknown[]) : [];
  // One entry for each layer; what was before tells of layers that are not there any more.
  const before = Array.isArray(source.history) ? (source.history as object[]) : [];
  const history = [
    ...before.map((entry) => ({ ...entry, empty_layer: true })),
    ...layers.map(({ descriptor }) => ({ created_by: `erofsify ${descriptor.mediaType}` })),
  ];
  const result = {
    ...source,
    "os.features": [...new Set([...features, EROFS_FEATURE])],
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history,
  };
  return Buffer.from(JSON.stringify(result));
}

/** The image's config with the digests of other layers, as many as before: for who looks at nothing else of it. */
export function replacedLayers(config: unknown, layers: readonly PushedLayer[]): Buffer {
  const rootfs = { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) };
  return Buffer.from(JSON.stringify({ ...(config as object), rootfs }));
}

/** What a manifest says besides its layers. */
export interface ManifestExtras {
  /** What to fetch ahead where the image is used; see docs/decisions/0024. */
  readonly prefetch?: PrefetchList | undefined;
  /** What it is attached to. */
  readonly subject?: ManifestDescriptor | undefined;
}

export function erofsManifest(
  config: Uint8Array,
  layers: readonly PushedLayer[],
  sourceDigest: string,
  { prefetch, subject }: ManifestExtras = {},
): Buffer {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    ...(subject && { artifactType: EROFS_ARTIFACT }),
    config: { mediaType: OCI_CONFIG, digest: sha256(config), size: config.length },
    layers: layers.map(({ descriptor }) => descriptor),
    ...(subject && { subject }),
    annotations: {
      [SOURCE_ANNOTATION]: sourceDigest,
      ...(prefetch && { [PREFETCH_ANNOTATION]: formatPrefetchList(prefetch) }),
    },
  };
  return Buffer.from(JSON.stringify(manifest));
}
