/** A look at what is behind a name in a registry: is it an image that can be converted, and for which platforms? */

import {
  connectionOf,
  DEFAULT_RETRY,
  endpointsOf,
  type ManifestName,
  parsed,
  RegistryClient,
  RepositoryReader,
  type RetryPolicy,
  readSettings,
} from "../../../blobd/registry/index.ts";
import {
  type Digest,
  EROFS_FEATURE,
  EROFS_LAYER,
  formatPlatform,
  type Index,
  imageEntries,
  isImageConfig,
  layerCompression,
  type Manifest,
  normalPlatform,
  type Platform,
  parseImageConfig,
  type Reference,
  SOURCE_ANNOTATION,
} from "../../../formats/oci/index.ts";
import { isIndexOf } from "../../push/index.ts";

export interface Inspection {
  /** Of the manifest or index that the reference names now. */
  readonly digest: Digest;
  /** Why it is not to be converted; undefined when it can be. */
  readonly refusal?: string;
  /** What it has, in Go's names. */
  readonly platforms: readonly Platform[];
  /** Sum of the layers, in bytes; null for an index, which does not tell. */
  readonly sourceBytes: number | null;
}

/** pg-boss tries again later, so the requests themselves need not be patient. */
const RETRY: RetryPolicy = { ...DEFAULT_RETRY, tries: 2, stallMs: 10_000 };

/** @throws SourceError; ERR_NOT_FOUND when it is gone */
export async function inspect(reference: Reference, signal: AbortSignal): Promise<Inspection> {
  const reader = await readerFor(reference, signal);
  const { document, digest } = await reader.manifest(nameOf(reference));
  if (document.kind === "index") return { digest, ...inspectIndex(document), sourceBytes: null };
  const refusal = refusalOf(document);
  if (refusal !== undefined) return { digest, refusal, platforms: [], sourceBytes: null };
  const config = await reader.config(document.config);
  const { platform } = parsed(reader.name, () => parseImageConfig(config));
  const sourceBytes = document.layers.reduce((sum, { size }) => sum + size, 0);
  return { digest, platforms: platform.architecture === "" ? [] : [normalPlatform(platform)], sourceBytes };
}

/** The digest that a tag has now; undefined when there is no such tag. @throws SourceError */
export async function digestOfTag(reference: Reference, signal: AbortSignal): Promise<Digest | undefined> {
  const reader = await readerFor(reference, signal);
  try {
    return (await reader.manifest(nameOf(reference))).digest;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_NOT_FOUND") return undefined;
    throw error;
  }
}

/**
 * Whether a tag means what a conversion has put in an image's place: an index made of it, be it a manifest or an index itself.
 * @throws SourceError
 */
export async function isIndexInPlace(tagged: Reference, image: Digest, signal: AbortSignal): Promise<boolean> {
  const reader = await readerFor(tagged, signal);
  try {
    return isIndexOf(await reader.manifest(nameOf(tagged)), await reader.manifest({ digest: image }));
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_NOT_FOUND") return false;
    throw error;
  }
}

async function readerFor(reference: Reference, signal: AbortSignal): Promise<RepositoryReader> {
  const { registry, repository } = reference;
  const options = { env: process.env, retry: RETRY, signal };
  // The registry itself, never a mirror: a mirror may lag behind, and results go to the registry.
  const endpoint = endpointsOf(registry, undefined, await readSettings(options.env)).at(-1)!;
  const client = new RegistryClient(endpoint, repository, connectionOf(options));
  return new RepositoryReader(client, `${registry}/${repository}`, options);
}

/** What a tag means now; the digest beside it says what it meant. */
function nameOf({ tag, digest }: Reference): ManifestName {
  return tag === undefined ? { digest: digest! } : { tag };
}

const CONVERTED = "is converted already";

/** Why an image is left alone. That what a conversion pushes starts no conversion is decided here, by what it is. */
function refusalOf({ config, layers, annotations }: Manifest): string | undefined {
  const isErofs = layers.some(
    (layer) => layer.mediaType.startsWith(EROFS_LAYER) || [...layer.annotations.keys()].some(isConvertersAnnotation),
  );
  if (isErofs || [...annotations.keys()].some(isConvertersAnnotation)) return CONVERTED;
  if (!isImageConfig(config.mediaType)) return `is no image but an artifact: its config is ${config.mediaType}`;
  const strange = layers.find((layer) => layerCompression(layer.mediaType) === undefined);
  return strange && `has a layer of type ${strange.mediaType}, expected a tar`;
}

function isConvertersAnnotation(key: string): boolean {
  return key === SOURCE_ANNOTATION || key.startsWith("org.erofs.") || key.startsWith("containerd.io/snapshot/nydus-");
}

function inspectIndex(index: Index): { refusal?: string; platforms: readonly Platform[] } {
  if (index.manifests.some(({ platform }) => platform?.osFeatures?.includes(EROFS_FEATURE)))
    return { refusal: CONVERTED, platforms: [] };
  const entries = imageEntries(index).filter(({ platform }) => platform && platform.architecture !== "");
  const platforms = entries.map(({ platform }) => normalPlatform(platform!)).filter(({ os }) => os === "linux");
  const distinct = new Map(platforms.map((platform) => [formatPlatform(platform), platform]));
  if (distinct.size === 0) return { refusal: "is an index without an image for Linux", platforms: [] };
  return { platforms: [...distinct.values()] };
}
