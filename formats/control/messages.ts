/**
 * What a client and `blobd serve` say to each other over its socket: one line of JSON each. A connection is a lease: the
 * blobs it asked for stay with it, and are let go when it ends, however it ends.
 *
 *     → {"version":1,"serve":{"endpoints":[…],"repository":"app","blobs":[{…,"isWhole":false}, …]}}
 *     ← {"blobs":[{"path":"/run/…/KEY","isComplete":false}, …]}        or {"error":"…","code":"ERR_…"}
 *     → {"version":1,"counts":true}
 *     ← {"counts":{"chunks":12,"storedBytes":4194304}}                what has been fetched of these blobs, so far
 *     → {"version":1,"record":true}                                   from now on, of the blobs that anybody is given
 *     ← {"recording":true}
 *     → {"version":1,"trace":true}
 *     ← {"trace":{…}}                 what has been read of recorded blobs first: `record`'s, else those of this connection
 *
 * A `serve` may also have `"record":true`, and `"prefetch":["0 1048576 65536", …]`: ranges of its blobs to fetch ahead, in
 * this order.
 */
import {
  type Digest,
  type ErofsLayer,
  formatPrefetchList,
  formatPrefetchRanges,
  isDigest,
  JsonObject,
  MAX_BLOB_BYTES,
  type PrefetchList,
  type PrefetchRange,
  prefetchListOf,
  prefetchRangesOf,
} from "../oci/index.ts";

export const CONTROL_VERSION = 1;
/** Longest message, in bytes. */
export const MAX_CONTROL_BYTES = 4 << 20;
/** Blobs of one request: an image has at most 1024 layers. */
const MAX_BLOBS = 1025;
const MAX_ENDPOINTS = 17;

/** A server of a registry: see blobd/registry. */
export interface ControlEndpoint {
  readonly origin: string;
  readonly host: string;
  readonly prefix: string;
  readonly ca?: string;
}

/** A blob that is wanted. */
export interface ControlBlob {
  readonly layer: ErofsLayer;
  /** All of it has to be there before the answer. */
  readonly isWhole: boolean;
}

export interface ServeRequest {
  readonly endpoints: readonly ControlEndpoint[];
  readonly repository: string;
  readonly blobs: readonly ControlBlob[];
  /** To be fetched ahead, by places in `blobs`. */
  readonly prefetch?: readonly PrefetchRange[];
  /** What is read of them is recorded. */
  readonly isRecorded?: boolean;
}

export interface ServedBlob {
  /** A file of the content's size. */
  readonly path: string;
  /** It is a file of the store, of which nothing has to be fetched. */
  readonly isComplete: boolean;
}

/** A request as a line. */
export function formatServeRequest({ endpoints, repository, blobs, prefetch = [], isRecorded }: ServeRequest): string {
  const layers = blobs.map(({ layer, isWhole }) => ({
    isWhole,
    digest: layer.descriptor.digest,
    size: layer.descriptor.size,
    mediaType: layer.descriptor.mediaType,
    compression: layer.compression,
    contentDigest: layer.contentDigest,
    ...(layer.chunkIndex && { chunkIndex: layer.chunkIndex }),
  }));
  const serve = {
    endpoints,
    repository,
    blobs: layers,
    ...(prefetch.length > 0 && { prefetch: formatPrefetchRanges(prefetch) }),
    ...(isRecorded && { record: true }),
  };
  return `${JSON.stringify({ version: CONTROL_VERSION, serve })}\n`;
}

/** What has been fetched of a client's blobs since it has them. */
export interface FetchedCounts {
  readonly chunks: number;
  /** As they came over the line. */
  readonly storedBytes: number;
}

export function formatCounts(counts: FetchedCounts): string {
  return `${JSON.stringify({ counts })}\n`;
}
/** @throws DocumentError */
export function parseCounts(line: Uint8Array): FetchedCounts {
  const counts = JsonObject.parse(line, "answer", MAX_CONTROL_BYTES).object("counts");
  return {
    chunks: counts.integer("chunks", Number.MAX_SAFE_INTEGER),
    storedBytes: counts.integer("storedBytes", Number.MAX_SAFE_INTEGER),
  };
}

export function formatRecording(): string {
  return `${JSON.stringify({ recording: true })}\n`;
}
export function formatTrace(list: PrefetchList): string {
  return `{"trace":${formatPrefetchList(list)}}\n`;
}
/** @throws DocumentError */
export function parseTrace(line: Uint8Array): PrefetchList {
  return prefetchListOf(JsonObject.parse(line, "answer", MAX_CONTROL_BYTES).object("trace"));
}

/** A request without anything that it says more. */
export type ShortRequest = (typeof SHORT_REQUESTS)[number];
const SHORT_REQUESTS = ["counts", "record", "trace"] as const;

export function formatShortRequest(request: ShortRequest): string {
  return `${JSON.stringify({ version: CONTROL_VERSION, [request]: true })}\n`;
}

/** @throws DocumentError */
export function parseControlRequest(line: Uint8Array): ServeRequest | ShortRequest {
  const message = JsonObject.parse(line, "message", MAX_CONTROL_BYTES);
  message.integer("version", CONTROL_VERSION);
  for (const request of SHORT_REQUESTS) if (message.optionalBoolean(request)) return request;
  const serve = message.object("serve");
  const blobs = serve.objects("blobs", MAX_BLOBS).map(controlBlob);
  return {
    prefetch: prefetchRangesOf(serve, "prefetch", blobs.length),
    isRecorded: serve.optionalBoolean("record") ?? false,
    repository: serve.string("repository"),
    endpoints: serve.objects("endpoints", MAX_ENDPOINTS).map((endpoint) => {
      const ca = endpoint.optionalString("ca");
      return {
        origin: endpoint.string("origin"),
        host: endpoint.string("host"),
        prefix: endpoint.optionalString("prefix") ?? "",
        ...(ca !== undefined && { ca }),
      };
    }),
    blobs,
  };
}

function controlBlob(json: JsonObject): ControlBlob {
  const index = json.optionalObject("chunkIndex");
  const descriptor = {
    mediaType: json.string("mediaType"),
    digest: digestField(json, "digest"),
    size: json.integer("size", MAX_BLOB_BYTES),
    urls: [],
    annotations: new Map(),
  };
  const indexDigest = index?.has("digest") ? digestField(index, "digest") : undefined;
  const chunkIndex = index && {
    blob: digestField(index, "blob"),
    start: index.integer("start", MAX_BLOB_BYTES),
    end: index.integer("end", MAX_BLOB_BYTES),
    framed: index.optionalBoolean("framed") ?? false,
    digest: indexDigest,
  };
  return {
    isWhole: json.optionalBoolean("isWhole") ?? false,
    layer: {
      descriptor,
      compression: json.string("compression") === "zstd" ? "zstd" : "none",
      contentDigest: digestField(json, "contentDigest"),
      chunkIndex,
    },
  };
}

function digestField(json: JsonObject, key: string): Digest {
  const text = json.string(key);
  if (isDigest(text)) return text;
  throw json.wrong(key, "a sha256 digest");
}

/** An answer as a line. */
export function formatServed(blobs: readonly ServedBlob[]): string {
  return `${JSON.stringify({ blobs })}\n`;
}

/** Why a request was not done. */
export interface ControlError {
  readonly code: string;
  readonly error: string;
}

export function formatControlError(code: string, error: string): string {
  return `${JSON.stringify({ code, error })}\n`;
}
/** The error that an answer tells; undefined when it tells none. @throws DocumentError */
export function controlErrorOf(answer: JsonObject): ControlError | undefined {
  if (!answer.has("error")) return undefined;
  return { code: answer.optionalString("code") ?? "", error: answer.string("error") };
}
/** The same of an answer that says nothing else. @throws DocumentError */
export function parseControlError(line: Uint8Array): ControlError | undefined {
  return controlErrorOf(JsonObject.parse(line, "answer", MAX_CONTROL_BYTES));
}

/** @throws DocumentError */
export function parseServed(line: Uint8Array): readonly ServedBlob[] | ControlError {
  const message = JsonObject.parse(line, "answer", MAX_CONTROL_BYTES);
  const error = controlErrorOf(message);
  if (error !== undefined) return error;
  return message.objects("blobs", MAX_BLOBS).map((blob) => ({
    path: blob.string("path"),
    isComplete: blob.optionalBoolean("isComplete") ?? false,
  }));
}
