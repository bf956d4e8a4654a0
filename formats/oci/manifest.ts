/**
 * Image manifests and indexes, of OCI and of Docker (schema 2). OCI image spec, manifest.md and image-index.md.
 *
 * What a document is, is told by its `mediaType` field, else by the type it was delivered as, else by what is in it
 * (umoci writes no mediaType, and a file has no Content-Type). Contradictions are refused, as CVE-2021-41190 asks.
 */
import { FormatError } from "../bytes/index.ts";
import { type Digest, parseDigest } from "./digest.ts";
import { DocumentError, JsonObject } from "./document.ts";
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isIndex,
  isManifest,
  isSchema1,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-types.ts";
import type { Platform } from "./platform.ts";

/** A manifest or index, in bytes: the least that registries must accept (OCI distribution spec, "Push"). */
export const MAX_MANIFEST_BYTES = 4 << 20;
/** Layers of one image: Docker stops at 127, overlayfs at 500. */
export const MAX_LAYERS = 1024;
/** Entries of one index. */
export const MAX_INDEX_ENTRIES = 4096;
/** A layer, in bytes: 16 TiB, what 4 KiB blocks with 32-bit numbers can address. */
export const MAX_BLOB_BYTES = 2 ** 44;
const MAX_ANNOTATIONS = 4096;
const MAX_URLS = 64;
const MAX_OS_FEATURES = 256;

/** Points at content: OCI image spec, descriptor.md. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  readonly urls: readonly string[];
  readonly annotations: ReadonlyMap<string, string>;
  readonly platform?: Platform;
  readonly artifactType?: string;
}

export interface Manifest {
  readonly kind: "manifest";
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations: ReadonlyMap<string, string>;
  readonly artifactType?: string;
  /** The manifest that this one is attached to. */
  readonly subject?: Descriptor;
}

export interface Index {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations: ReadonlyMap<string, string>;
}

/**
 * Parses a manifest or an index.
 *
 * @param contentType The type it was delivered as: a Content-Type header or the mediaType of its descriptor.
 * @throws DocumentError ERR_NOT_JSON, ERR_BAD_VALUE, or ERR_UNSUPPORTED (schema 1, unknown types).
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest | Index {
  const json = JsonObject.parse(bytes, "manifest", MAX_MANIFEST_BYTES);
  const mediaType = documentType(json, contentType);
  if (json.integer("schemaVersion", Number.MAX_SAFE_INTEGER) !== 2)
    throw new DocumentError("ERR_UNSUPPORTED", "manifest.schemaVersion", "expected 2");
  const annotations = json.stringMap("annotations", MAX_ANNOTATIONS);
  if (isIndex(mediaType)) {
    const manifests = json.objects("manifests", MAX_INDEX_ENTRIES).map(descriptor);
    return { kind: "index", mediaType, manifests, annotations };
  }
  const config = descriptor(json.object("config"));
  const layers = json.objects("layers", MAX_LAYERS).map(descriptor);
  const artifactType = json.optionalString("artifactType");
  const subject = json.optionalObject("subject");
  return {
    kind: "manifest",
    mediaType,
    config,
    layers,
    annotations,
    ...(artifactType !== undefined && { artifactType }),
    ...(subject && { subject: descriptor(subject) }),
  };
}

function documentType(json: JsonObject, contentType: string | undefined): string {
  const stated = json.optionalString("mediaType");
  const delivered = contentType?.replace(/;.*/s, "").trim().toLowerCase();
  if (isSchema1(stated ?? delivered ?? "") || (!stated && json.has("fsLayers")))
    throw new DocumentError(
      "ERR_UNSUPPORTED",
      "manifest",
      "is of Docker's schema 1, which registries no longer accept: push the image again with a current tool",
    );
  const holdsIndex = json.has("manifests");
  if (holdsIndex && (json.has("layers") || json.has("config")))
    throw new DocumentError(
      "ERR_BAD_VALUE",
      "manifest",
      "has both layers and manifests: it is neither manifest nor index",
    );
  if (stated !== undefined && !isKnown(stated))
    throw new DocumentError("ERR_UNSUPPORTED", "manifest.mediaType", notAnImage(stated));
  const known = [stated, delivered].filter((t) => t !== undefined && isKnown(t)) as string[];
  if (known.length === 2 && known[0] !== known[1])
    throw new DocumentError(
      "ERR_BAD_VALUE",
      "manifest.mediaType",
      `found ${known[0]}, but it was delivered as ${known[1]}`,
    );
  const type = known[0] ?? (holdsIndex ? OCI_INDEX : OCI_MANIFEST);
  if (isIndex(type) !== holdsIndex)
    throw new DocumentError(
      "ERR_BAD_VALUE",
      "manifest",
      `is a ${type} by type, but has no ${holdsIndex ? "layers" : "manifests"}`,
    );
  return type;
}

function isKnown(mediaType: string): boolean {
  return isManifest(mediaType) || isIndex(mediaType);
}

function notAnImage(found: string): string {
  return `found ${found}, expected one of ${[OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ")}`;
}

function descriptor(json: JsonObject): Descriptor {
  const platform = json.optionalObject("platform");
  const artifactType = json.optionalString("artifactType");
  return {
    mediaType: json.string("mediaType"),
    digest: digestField(json, "digest"),
    size: json.integer("size", MAX_BLOB_BYTES),
    urls: json.strings("urls", MAX_URLS),
    annotations: json.stringMap("annotations", MAX_ANNOTATIONS),
    ...(platform && { platform: platformField(platform) }),
    ...(artifactType !== undefined && { artifactType }),
  };
}

function digestField(json: JsonObject, key: string): Digest {
  const path = `${json.path}.${key}`;
  try {
    return parseDigest(json.string(key), path);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new DocumentError(error.code === "ERR_UNSUPPORTED" ? error.code : "ERR_BAD_VALUE", path, error.detail);
  }
}

function platformField(json: JsonObject): Platform {
  const variant = json.optionalString("variant");
  const osVersion = json.optionalString("os.version");
  return {
    os: json.optionalString("os") ?? "",
    architecture: json.optionalString("architecture") ?? "",
    ...(variant && { variant }),
    ...(osVersion && { osVersion }),
    osFeatures: json.strings("os.features", MAX_OS_FEATURES),
  };
}
