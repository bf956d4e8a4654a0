/** Choosing the image for a platform out of an index. */
import { EROFS_FEATURE } from "./erofs-layers.ts";
import type { Descriptor, Index } from "./manifest.ts";
import { isIndex, isManifest } from "./media-types.ts";
import { formatPlatform, type Platform, platformFit } from "./platform.ts";

/** BuildKit's provenance and SBOM manifests ride in the index under this platform. */
const ATTESTATION = "vnd.docker.reference.type";

/** Entries that can be, or lead to, an image with tar layers. */
export function imageEntries(index: Index): Descriptor[] {
  return index.manifests.filter(
    (d) =>
      (isManifest(d.mediaType) || isIndex(d.mediaType)) &&
      d.artifactType === undefined &&
      !d.annotations.has(ATTESTATION) &&
      !(d.platform?.os === "unknown" && d.platform.architecture === "unknown") &&
      // Layers that are EROFS already are results of a conversion, not sources.
      !d.platform?.osFeatures?.includes(EROFS_FEATURE),
  );
}

/**
 * The entry that suits `wanted` best, the first of several equal ones; undefined when none does. An entry that tells no
 * platform may be anything (a nested index, an image whose config tells): it is taken when no other fits.
 */
export function selectEntry(index: Index, wanted: Platform): Descriptor | undefined {
  return best(imageEntries(index), wanted);
}

function best(entries: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  let found: Descriptor | undefined;
  let foundFit = 0;
  for (const entry of entries) {
    const fit = hasPlatform(entry) ? platformFit(entry.platform, wanted) : 0.5;
    if (fit > foundFit) [found, foundFit] = [entry, fit];
  }
  return found;
}

/** The converted image that an index has for `wanted`: an entry with the feature `erofs`; undefined when there is none. */
export function selectErofsEntry(index: Index, wanted: Platform): Descriptor | undefined {
  const entries = index.manifests.filter(
    ({ mediaType, platform }) => isManifest(mediaType) && platform?.osFeatures?.includes(EROFS_FEATURE),
  );
  return best(entries, wanted);
}

/** The platforms an index offers, for an error: `linux/amd64`, … */
export function offeredPlatforms(index: Index): string[] {
  return [
    ...new Set(
      imageEntries(index)
        .filter(hasPlatform)
        .map((d) => formatPlatform(d.platform)),
    ),
  ];
}

function hasPlatform(entry: Descriptor): entry is Descriptor & { platform: Platform } {
  return entry.platform !== undefined && (entry.platform.os !== "" || entry.platform.architecture !== "");
}
