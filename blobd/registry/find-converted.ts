/**
 * The converted form of an image: what it is itself, what its index lists beside it, or what is attached to it.
 *
 *     reference ─► manifest of EROFS layers ───────────────────────────────────────► itself
 *               ─► index ─► entry with os.features: erofs, for the platform ────────► index
 *                       └─► entry of tar layers ─► digest ─► its referrers ─────────► referrer
 *               ─► manifest of tar layers ──────────► digest ─► its referrers ──────► referrer
 */
import {
  type Digest,
  EROFS_ARTIFACT,
  type ErofsImageLayers,
  erofsImageLayers,
  erofsStackLayers,
  formatPlatform,
  type ImageConfig,
  isDigest,
  isErofsManifest,
  type Manifest,
  type Platform,
  parseImageConfig,
  platformFit,
  type Reference,
  SOURCE_ANNOTATION,
  SourceError,
  selectEntry,
  selectErofsEntry,
} from "../../formats/oci/index.ts";
import { firstEndpoint, type RepositoryAccess } from "./first-endpoint.ts";
import type { RegistryOptions } from "./options.ts";
import { parsed } from "./parsed.ts";
import { listReferrers } from "./referrers.ts";
import type { FetchedManifest, RepositoryReader } from "./repository-reader.ts";

/** Indexes inside each other. */
const MAX_DEPTH = 3;
/** Attached images that are looked at before none is taken. */
const MAX_CANDIDATES = 8;

export interface ConvertedRequest {
  readonly reference: Reference;
  readonly platform: Platform;
  readonly plainHttp?: boolean;
  /**
   * Take what is attached to an image also when the reference has a digest. A digest promises bytes; anybody who may push to
   * the repository may attach something to them later. Default: only to images named by tag, which the same people may move.
   */
  readonly trustReferrers?: boolean;
  /** Take an image of several file systems, too, which are for an overlay or to be merged. Default: only of one. */
  readonly stacks?: boolean;
  /** Told why a form that was there was not taken. */
  readonly onRefused?: (reason: string) => void;
}

/** A converted image in a registry: its documents are verified, its layers are what the specification allows. */
export interface ConvertedImage {
  readonly how: "itself" | "index" | "referrer";
  /** Of the converted image's manifest. */
  readonly manifestDigest: Digest;
  /** Of the manifest that it was made of; undefined when it does not tell. */
  readonly sourceDigest: Digest | undefined;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** Of the only file system, or the topmost. */
  readonly layers: ErofsImageLayers;
  /** Those below it, lowest first: of stacks only. */
  readonly below: readonly ErofsImageLayers[];
  readonly access: RepositoryAccess;
}

/**
 * Finds the converted form of an image; undefined when it has none that can be used. The first that has the image decides, mirrors
 * before the registry: hosts behind a mirror may reach nothing else.
 * @throws SourceError when the image itself is not found, or is the converted form and broken; the signal's reason
 */
export async function findConverted(
  request: ConvertedRequest,
  options: RegistryOptions,
): Promise<ConvertedImage | undefined> {
  const { result, access } = await firstEndpoint(request.reference, request.plainHttp, options, (reader) =>
    findThere(reader, request),
  );
  return result && { ...result, access };
}

type Found = Omit<ConvertedImage, "access">;

async function findThere(reader: RepositoryReader, request: ConvertedRequest): Promise<Found | undefined> {
  const { reference, platform } = request;
  const wanted = reference.digest === undefined ? { tag: reference.tag! } : { digest: reference.digest };
  let fetched = await reader.manifest(wanted);
  for (let depth = 0; fetched.document.kind === "index"; depth++) {
    if (depth === MAX_DEPTH)
      throw new SourceError("ERR_BAD_MANIFEST", `${reader.name}: more than ${MAX_DEPTH} indexes inside each other`);
    const index = fetched.document;
    const source = selectEntry(index, platform);
    const entry = selectErofsEntry(index, platform);
    if (entry !== undefined) {
      const found = await attempt(request, `the entry ${entry.digest} of its index`, async () =>
        openConverted(reader, await reader.listed(entry), request, source?.digest),
      );
      if (found !== undefined) return { ...found, how: "index" };
    }
    if (source === undefined) return undefined;
    fetched = await reader.listed(source);
  }
  if (isErofsManifest(fetched.document))
    return { ...(await openConverted(reader, fetched, request, undefined)), how: "itself" };
  if (reference.digest !== undefined && !request.trustReferrers) return undefined;
  return findAttached(reader, fetched.digest, request);
}

async function findAttached(
  reader: RepositoryReader,
  source: Digest,
  request: ConvertedRequest,
): Promise<Found | undefined> {
  const listed = await attempt(request, `what is attached to ${source}`, () =>
    listReferrers(reader, source, EROFS_ARTIFACT),
  );
  for (const descriptor of listed?.slice(0, MAX_CANDIDATES) ?? []) {
    const found = await attempt(request, `the attached image ${descriptor.digest}`, async () => {
      const fetched = await reader.listed(descriptor);
      const { document } = fetched;
      // The list is anybody's word; the manifest itself has to say what it is attached to.
      if (document.kind !== "manifest" || document.subject?.digest !== source)
        throw refused(reader, `is listed for ${source}, and does not name it as its subject`);
      return openConverted(reader, fetched, request, source);
    });
    if (found !== undefined) return { ...found, how: "referrer" };
  }
  return undefined;
}

/** A form that cannot be used is no reason to fail: the image itself is there. */
async function attempt<T>(request: ConvertedRequest, what: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    request.onRefused?.(`${what} is not used: ${error.message}`);
    return undefined;
  }
}

/** @param source the manifest that it has to be made of, where that is known */
async function openConverted(
  reader: RepositoryReader,
  { document, digest }: FetchedManifest,
  { platform, stacks }: ConvertedRequest,
  source: Digest | undefined,
): Promise<Omit<Found, "how">> {
  if (document.kind !== "manifest" || !isErofsManifest(document)) throw refused(reader, "has no EROFS layers");
  const made = document.annotations.get(SOURCE_ANNOTATION);
  if (source !== undefined && made !== undefined && made !== source)
    throw refused(reader, `was made of ${made.slice(0, 100)}, expected ${source}`);
  const configBytes = await reader.config(document.config);
  const config = parsed(reader.name, () => parseImageConfig(configBytes));
  const { platform: offered } = config;
  if (offered.architecture !== "" && platformFit(offered, platform) === 0)
    throw new SourceError(
      "ERR_PLATFORM",
      `${reader.name} is an image for ${formatPlatform(offered)}, not for ${formatPlatform(platform)}`,
    );
  const stack = parsed(reader.name, () =>
    stacks ? erofsStackLayers(document, config.diffIds) : [erofsImageLayers(document, config.diffIds)],
  );
  const sourceDigest = source ?? (made !== undefined && isDigest(made) ? made : undefined);
  const found = { manifestDigest: digest, sourceDigest, manifest: document, config };
  return { ...found, layers: stack.at(-1)!, below: stack.slice(0, -1) };
}

function refused(reader: RepositoryReader, why: string): SourceError {
  return new SourceError("ERR_BAD_MANIFEST", `${reader.name}: ${why}`);
}
