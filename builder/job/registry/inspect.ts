/** A look at what is behind a name in a registry: is it an image that can be converted, and for which platforms? */

import {
  DEFAULT_RETRY,
  endpointsOf,
  header,
  parsed,
  RegistryClient,
  type RetryPolicy,
  readBody,
  readSettings,
  retrying,
  sha256,
  wrongDigest,
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
  MANIFEST_TYPES,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  normalPlatform,
  type Platform,
  parseImageConfig,
  parseManifest,
  type Reference,
} from "../../../formats/oci/index.ts";

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
  const client = await clientFor(reference, signal);
  const name = `${reference.registry}/${reference.repository}`;
  const { document, digest } = await fetchManifest(client, reference, name, signal);
  if (document.kind === "index") return { digest, ...inspectIndex(document), sourceBytes: null };
  const refusal = refusalOf(document);
  if (refusal !== undefined) return { digest, refusal, platforms: [], sourceBytes: null };
  const config = await fetchBytes(client, `blobs/${document.config.digest}`, {}, MAX_CONFIG_BYTES, name, signal);
  if (sha256(config.bytes) !== document.config.digest)
    throw wrongDigest(`${name}: config`, sha256(config.bytes), document.config.digest);
  const { platform } = parsed(name, () => parseImageConfig(config.bytes));
  const sourceBytes = document.layers.reduce((sum, { size }) => sum + size, 0);
  return { digest, platforms: platform.architecture === "" ? [] : [normalPlatform(platform)], sourceBytes };
}

/** The digest that a tag has now; undefined when there is no such tag. @throws SourceError */
export async function digestOfTag(reference: Reference, signal: AbortSignal): Promise<Digest | undefined> {
  const client = await clientFor(reference, signal);
  try {
    return (await fetchManifest(client, reference, `${reference.registry}/${reference.repository}`, signal)).digest;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_NOT_FOUND") return undefined;
    throw error;
  }
}

async function clientFor({ registry, repository }: Reference, signal: AbortSignal): Promise<RegistryClient> {
  const env = process.env;
  // The registry itself, never a mirror: a mirror may lag behind, and results go to the registry.
  const endpoint = endpointsOf(registry, undefined, await readSettings(env)).at(-1)!;
  return new RegistryClient(endpoint, repository, { env, stallMs: RETRY.stallMs, signal });
}

async function fetchManifest(client: RegistryClient, reference: Reference, name: string, signal: AbortSignal) {
  const wanted = reference.tag ?? reference.digest;
  const what = `${name}: manifest ${wanted}`;
  const accept = { accept: MANIFEST_TYPES.join(", ") };
  const { answer, bytes } = await fetchBytes(client, `manifests/${wanted}`, accept, MAX_MANIFEST_BYTES, what, signal);
  const digest = sha256(bytes);
  const stated = reference.tag === undefined ? reference.digest : undefined;
  if (stated !== undefined && stated !== digest) throw wrongDigest(what, digest, stated);
  return { digest, document: parsed(what, () => parseManifest(bytes, header(answer.response, "content-type"))) };
}

function fetchBytes(
  client: RegistryClient,
  path: string,
  headers: Readonly<Record<string, string>>,
  limit: number,
  what: string,
  signal: AbortSignal,
) {
  return retrying(RETRY, signal, async () => {
    const answer = await client.get(path, headers, what);
    return { answer, bytes: await readBody(answer, limit, what, signal) };
  });
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
  return key.startsWith("org.erofs.") || key.startsWith("containerd.io/snapshot/nydus-");
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
