/**
 * What of an image's blobs is read first, in the order of first access: recorded while a guest runs, sent along with the
 * image, and fetched ahead where the image is started before it is there. As JSON:
 *
 *     {"version":1,"blobs":["sha256:…", …],"ranges":["0 1048576 65536", …]}        a blob's place in `blobs`, offset, bytes
 *
 * Offsets are of content, so that a list is good for any chunk size. See docs/decisions/0024.
 */
import { type Digest, isDigest } from "./digest.ts";
import { DocumentError, JsonObject } from "./document.ts";
import { MAX_BLOB_BYTES, MAX_LAYERS, type Manifest } from "./manifest.ts";

/** Annotation of a manifest that holds a list. */
export const PREFETCH_ANNOTATION = "io.erofsify.prefetch";
/** Longest list as JSON, in bytes: a manifest has room for 4 MiB. */
export const MAX_PREFETCH_BYTES = 512 << 10;
/** What is read after so many ranges is no start any more. */
export const MAX_PREFETCH_RANGES = 8192;

const VERSION = 1;

export interface PrefetchRange {
  /** Place in a list of blobs. */
  readonly blob: number;
  /** Of the blob's content, in bytes. */
  readonly offset: number;
  readonly bytes: number;
}

export interface PrefetchList {
  /** By the digests of their content. */
  readonly blobs: readonly Digest[];
  /** In the order in which they were wanted. */
  readonly ranges: readonly PrefetchRange[];
}

/** A list in one line. */
export function formatPrefetchList({ blobs, ranges }: PrefetchList): string {
  return JSON.stringify({ version: VERSION, blobs, ranges: formatPrefetchRanges(ranges) });
}

/** @throws DocumentError */
export function parsePrefetchList(bytes: Uint8Array): PrefetchList {
  return prefetchListOf(JsonObject.parse(bytes, "prefetch list", MAX_PREFETCH_BYTES));
}

/** A list that is part of another document. @throws DocumentError */
export function prefetchListOf(json: JsonObject): PrefetchList {
  if (json.integer("version", Number.MAX_SAFE_INTEGER) !== VERSION)
    throw new DocumentError("ERR_UNSUPPORTED", `${json.path}.version`, `expected ${VERSION}`);
  const blobs = json.strings("blobs", MAX_LAYERS).map((text) => {
    if (isDigest(text)) return text;
    throw json.wrong("blobs", `sha256 digests; one is ${shown(text)}`);
  });
  return { blobs, ranges: prefetchRangesOf(json, "ranges", blobs.length) };
}

export function formatPrefetchRanges(ranges: readonly PrefetchRange[]): string[] {
  return ranges.map(({ blob, offset, bytes }) => `${blob} ${offset} ${bytes}`);
}

/** @param blobs how many there are for the ranges to be of @throws DocumentError */
export function prefetchRangesOf(json: JsonObject, key: string, blobs: number): PrefetchRange[] {
  return json.strings(key, MAX_PREFETCH_RANGES).map((text, at) => {
    const [, blob, offset, bytes] = /^(\d{1,4}) (\d{1,14}) (\d{1,14})$/.exec(text)?.map(Number) ?? [];
    if (blob === undefined || offset === undefined || bytes === undefined || bytes === 0)
      throw new DocumentError(
        "ERR_BAD_VALUE",
        `${json.path}.${key}[${at}]`,
        `found ${shown(text)}, expected ${EXAMPLE}`,
      );
    if (blob >= blobs || offset + bytes > MAX_BLOB_BYTES)
      throw new DocumentError(
        "ERR_BAD_VALUE",
        `${json.path}.${key}[${at}]`,
        `found ${shown(text)}, expected one of ${blobs} blobs and an end of at most ${MAX_BLOB_BYTES}`,
      );
    return { blob, offset, bytes };
  });
}

const EXAMPLE = `"BLOB OFFSET BYTES", such as "0 1048576 65536"`;

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}

/** A list as it fits an image, and what of it does not. */
export interface FittedPrefetch {
  /** Of the image's blobs, by their places there. */
  readonly ranges: readonly PrefetchRange[];
  /** Blobs of the list that the image has not got. */
  readonly strangers: readonly Digest[];
}

/** @param blobs of the image, by the digests of their content */
export function fitPrefetchList(list: PrefetchList, blobs: readonly Digest[]): FittedPrefetch {
  const places = list.blobs.map((digest) => blobs.indexOf(digest));
  const ranges = list.ranges
    .filter(({ blob }) => places[blob]! >= 0)
    .map(({ blob, offset, bytes }) => ({ blob: places[blob]!, offset, bytes }));
  return { ranges, strangers: list.blobs.filter((_, at) => places[at]! < 0) };
}

/**
 * The ranges of the list that came with a converted image, by the places of its blobs. It is a hint: one that is no good is
 * left out.
 * @param blobs of the image, by the digests of their content
 */
export function prefetchOfManifest(
  { annotations }: Pick<Manifest, "annotations">,
  blobs: readonly Digest[],
  warn: (problem: string) => void,
): readonly PrefetchRange[] {
  const text = annotations.get(PREFETCH_ANNOTATION);
  if (text === undefined) return [];
  try {
    const { ranges, strangers } = fitPrefetchList(parsePrefetchList(Buffer.from(text)), blobs);
    if (strangers.length > 0)
      warn(`its prefetch list names ${strangers.length} blobs that are not of this image, such as ${strangers[0]}`);
    return ranges;
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    warn(`its prefetch list is not used: ${error.message}`);
    return [];
  }
}
