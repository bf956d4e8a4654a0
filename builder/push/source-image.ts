/** The image in its registry that a converted one was made of. */
import { type FetchedManifest, parsed, SourceError } from "../../blobd/registry/index.ts";
import {
  type Descriptor,
  formatPlatform,
  imageEntries,
  isIndex,
  normalPlatform,
  type Platform,
  parseImageConfig,
  type Reference,
} from "../../formats/oci/index.ts";
import { descriptorOf, type ManifestDescriptor } from "./documents.ts";
import { openTarget, type PushTarget, type TargetOptions } from "./target.ts";

/** Indexes inside each other. */
const MAX_DEPTH = 3;

export interface SourceImage {
  readonly place: PushTarget;
  /** What its tag or digest means: a manifest, or the index around it. */
  readonly root: FetchedManifest;
}

/** @throws SourceError */
export async function openSource(
  reference: Reference,
  options: TargetOptions,
  signal: AbortSignal,
): Promise<SourceImage> {
  const place = await openTarget(reference, options, signal);
  const { tag, digest } = reference;
  return { place, root: await place.reader.manifest(digest === undefined ? { tag: tag! } : { digest }) };
}

/** An entry that leads to a manifest: with its platform, when it stands in an index. */
export interface SourceManifest {
  readonly descriptor: ManifestDescriptor;
  readonly entry: Descriptor | undefined;
}

/**
 * Where in the source a manifest is.
 * @throws SourceError when it is not of this image: the tag means another one by now
 */
export async function findManifest({ place, root }: SourceImage, digest: string): Promise<SourceManifest> {
  const { reader } = place;
  if (root.digest === digest) return { descriptor: descriptorOf(root), entry: undefined };
  let level = [root.document];
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth++) {
    const entries = level.flatMap((document) => (document.kind === "index" ? document.manifests : []));
    const entry = entries.find((one) => one.digest === digest);
    if (entry !== undefined) {
      const { mediaType, size } = entry;
      return { descriptor: { mediaType, digest: entry.digest, size }, entry };
    }
    const nested = entries.filter(({ mediaType }) => isIndex(mediaType));
    level = [];
    for (const one of nested) level.push((await reader.listed(one)).document);
  }
  throw new SourceError(
    "ERR_NOT_FOUND",
    `${reader.name}: ${root.digest} has no manifest ${digest}, which was converted: it means another image by now, try again`,
  );
}

/** Whether a manifest is in the source. @throws SourceError when that cannot be found out */
export async function hasManifest(source: SourceImage, digest: string): Promise<boolean> {
  try {
    await findManifest(source, digest);
    return true;
  } catch (error) {
    if (error instanceof SourceError && error.code === "ERR_NOT_FOUND") return false;
    throw error;
  }
}

/** The platforms of Linux that a source has. @throws SourceError when it has none */
export async function sourcePlatforms({ place, root }: SourceImage): Promise<readonly Platform[]> {
  const { reader } = place;
  if (root.document.kind === "manifest") {
    const bytes = await reader.config(root.document.config);
    return [parsed(reader.name, () => parseImageConfig(bytes)).platform];
  }
  const platforms = imageEntries(root.document).flatMap(({ platform }) => (platform?.os === "linux" ? [platform] : []));
  const distinct = new Map(platforms.map((platform) => [formatPlatform(normalPlatform(platform)), platform]));
  if (distinct.size > 0) return [...distinct.values()];
  throw new SourceError("ERR_PLATFORM", `${reader.name}: its index lists no image for Linux`);
}
