import { statSync } from "node:fs";
import { type Lease, leaseBlobs } from "../../blobd/lease/index.ts";
import { type RetryPolicy, SourceError } from "../../blobd/registry/index.ts";
import { Store } from "../../blobd/store/index.ts";
import { prefetchOfManifest } from "../../formats/oci/index.ts";
import { formatSource, type RegistrySpec, type SourceSpec } from "../names/index.ts";
import { type ImageFiles, type OpenedImage, openFiles } from "../open/index.ts";
import { checkTags, findPushed, imageRecord, storedLayer } from "../pushed/index.ts";

export interface LazyOptions {
  readonly storeRoot: string;
  readonly retry?: Partial<RetryPolicy>;
  readonly signal: AbortSignal;
  /** What is read of it first is recorded. */
  readonly isRecorded?: boolean;
  /** Told of a prefetch list that is no good: the image is used without. */
  readonly onWarning?: (message: string) => void;
  /** Use what is attached to an image that is named by digest. */
  readonly trustReferrers?: boolean;
}

/** An image whose blobs come as they are read. */
export interface LazyImage {
  readonly image: OpenedImage;
  /** Holds the blobs' files; it ends with this process at the latest. */
  readonly lease: Lease;
}

/**
 * Opens a pushed image without fetching it: its metadata come first, its blobs are files of `blobd serve`.
 * @throws SourceError, DocumentError, FormatError; the signal's reason
 */
export async function openLazy(spec: SourceSpec, options: LazyOptions): Promise<LazyImage> {
  if (spec.kind !== "registry")
    throw new SourceError(
      "ERR_BAD_SOURCE",
      `${formatSource(spec)}: only an image in a registry can be run before it is here`,
    );
  const refusals: string[] = [];
  const converted = await findPushed(spec, { ...options, onRefused: (reason) => void refusals.push(reason) });
  if (converted === undefined) throw notPushed(spec, options.trustReferrers ?? false, refusals);
  const { meta, devices } = converted.layers;
  const { endpoints, repository } = converted.access;
  const blobs = [{ layer: meta, isWhole: true }, ...devices.map((layer) => ({ layer, isWhole: false }))];
  const request = {
    endpoints,
    repository,
    blobs,
    prefetch: prefetchOfManifest(
      converted.manifest,
      blobs.map(({ layer }) => layer.contentDigest),
      (problem) => options.onWarning?.(`${formatSource(spec)}: ${problem}`),
    ),
    isRecorded: options.isRecorded ?? false,
  };
  const lease = await leaseBlobs(options.storeRoot, request, options);
  try {
    const name = formatSource(spec);
    const [metaFile, ...deviceFiles] = lease.blobs;
    const stored = imageRecord(
      converted,
      name,
      storedLayer(meta, statSync(metaFile!.path).size, name),
      devices.map((layer, i) => storedLayer(layer, statSync(deviceFiles[i]!.path).size, name)),
    );
    const files: ImageFiles = {
      metaPath: metaFile!.path,
      devicePaths: deviceFiles.map(({ path }) => path),
      stored: { ...stored, layers: [] },
    };
    const image = openFiles(name, files);
    try {
      checkTags(image, converted.layers, name);
      if (lease.blobs.every(({ isComplete }) => isComplete)) await remember(options.storeRoot, files);
    } catch (error) {
      image.close();
      throw error;
    }
    const fetched = () => lease.fetched();
    const trace = () => lease.trace();
    return { image: { ...image, fetched, ...(options.isRecorded && { trace }) }, lease };
  } catch (error) {
    lease.end();
    throw error;
  }
}

/** An image that is all here is one of the store: found by its name, and removed by last use like those converted here. */
async function remember(storeRoot: string, { stored }: ImageFiles): Promise<void> {
  const store = await Store.open(storeRoot);
  try {
    if (stored !== undefined) store.putImage(stored.key, stored.record);
  } finally {
    store.close();
  }
}

function notPushed(spec: RegistrySpec, isTrusting: boolean, refusals: readonly string[]): SourceError {
  const name = formatSource(spec);
  const why = refusals.map((reason) => `; ${reason}`).join("");
  if (spec.reference.digest !== undefined && !isTrusting)
    return new SourceError(
      "ERR_UNSUPPORTED",
      `${name} has layers of tar and no converted form under this digest; what may be attached to it is used with ` +
        `--trust-referrers${why}`,
    );
  return new SourceError(
    "ERR_UNSUPPORTED",
    `${name} has layers of tar, which have to be converted, and no converted form beside it: erofsify push ${name} makes one ` +
      `that can be run before it is here (--as referrer attaches it)${why}`,
  );
}
