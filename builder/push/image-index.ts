/** The index of an image and its converted forms. */
import type { FetchedManifest } from "../../blobd/registry/index.ts";
import {
  EROFS_FEATURE,
  JsonObject,
  MAX_MANIFEST_BYTES,
  OCI_INDEX,
  type Platform,
  platformFit,
} from "../../formats/oci/index.ts";
import { descriptorOf, type ManifestDescriptor } from "./documents.ts";

/** A converted image, and the platform that it is for. */
export interface ConvertedEntry {
  readonly descriptor: ManifestDescriptor;
  readonly platform: Platform;
}

/**
 * An index of converted images alone.
 * @example one image of two platforms, pushed under its own tag
 */
export function convertedIndex(converted: readonly ConvertedEntry[], features: readonly string[]): Buffer {
  return indexOf(
    {},
    converted.map((one) => entryOf(one, features)),
  );
}

/**
 * The source's entries as they are, and behind them the converted images: who does not know EROFS takes the first that fits.
 * Converted images of the same platforms that the source's index lists already are exchanged.
 * @param source a manifest, or an index
 * @param platform of the source, when it is a manifest
 */
export function imageIndex(source: FetchedManifest, platform: Platform, converted: readonly ConvertedEntry[]): Buffer {
  const { document, bytes } = source;
  if (document.kind === "manifest") {
    const entry = { ...descriptorOf(source), platform: platformJson(platform, []) };
    return indexOf({}, [entry, ...converted.map((one) => entryOf(one, [EROFS_FEATURE]))]);
  }
  // As they are written, fields that this program knows nothing of included.
  const raw = JsonObject.parse(bytes, "index", MAX_MANIFEST_BYTES).raw;
  const entries = (raw.manifests as unknown[]).filter((_, i) => {
    const listed = document.manifests[i]!.platform;
    const isErofs = listed?.osFeatures?.includes(EROFS_FEATURE);
    return !(listed && isErofs && converted.some((one) => platformFit(listed, one.platform) === 100));
  });
  return indexOf(raw, [...entries, ...converted.map((one) => entryOf(one, [EROFS_FEATURE]))]);
}

function indexOf(raw: Readonly<Record<string, unknown>>, manifests: readonly unknown[]): Buffer {
  return Buffer.from(JSON.stringify({ ...raw, schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}

function entryOf({ descriptor, platform }: ConvertedEntry, features: readonly string[]): object {
  return { ...descriptor, platform: platformJson(platform, features) };
}

function platformJson({ os, architecture, variant, osVersion, osFeatures }: Platform, more: readonly string[]): object {
  const features = [...new Set([...(osFeatures ?? []), ...more])];
  return {
    architecture,
    os,
    ...(osVersion !== undefined && { "os.version": osVersion }),
    ...(features.length > 0 && { "os.features": features }),
    ...(variant !== undefined && { variant }),
  };
}
