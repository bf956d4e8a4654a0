/** The index of an image and its converted forms. */
import type { FetchedManifest } from "../../blobd/registry/index.ts";
import {
  type Descriptor,
  EROFS_FEATURE,
  type Index,
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
  const { raw, entries } = keptOf(document, bytes, ({ platform: listed }) => {
    return !(listed && isErofs(listed) && converted.some((one) => platformFit(listed, one.platform) === 100));
  });
  return indexOf(raw, [...entries, ...converted.map((one) => entryOf(one, [EROFS_FEATURE]))]);
}

/** Whether an index is what `imageIndex` makes of a source, whatever converted images it lists behind the source's own entries. */
export function isIndexOf({ document, bytes }: FetchedManifest, source: FetchedManifest): boolean {
  if (document.kind !== "index") return false;
  const own = document.manifests.filter(({ platform }) => !isErofs(platform));
  if (own.length === document.manifests.length) return false;
  if (source.document.kind === "manifest") return own.length === 1 && own[0]!.digest === source.digest;
  const withoutConverted = (index: Index, text: Uint8Array) => {
    const { raw, entries } = keptOf(index, text, ({ platform }) => !isErofs(platform));
    return indexOf(raw, entries);
  };
  return withoutConverted(document, bytes).equals(withoutConverted(source.document, source.bytes));
}

function isErofs(platform: Platform | undefined): boolean {
  return platform?.osFeatures?.includes(EROFS_FEATURE) ?? false;
}

/** An index as it is written, fields that this program knows nothing of included, and those of its entries that are kept. */
function keptOf({ manifests }: Index, bytes: Uint8Array, isKept: (entry: Descriptor) => boolean) {
  const { raw } = JsonObject.parse(bytes, "index", MAX_MANIFEST_BYTES);
  return { raw, entries: (raw.manifests as unknown[]).filter((_, i) => isKept(manifests[i]!)) };
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
