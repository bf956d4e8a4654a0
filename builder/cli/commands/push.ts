import { defaultStoreRoot, type ImageRecord } from "../../../blobd/store/index.ts";
import { hasLibzstd, libzstdMaxLevel } from "../../../blobd/sys/index.ts";
import { FormatError } from "../../../formats/bytes/index.ts";
import { MAX_CHUNK_BYTES } from "../../../formats/chunk-index/index.ts";
import {
  type Digest,
  fitPrefetchList,
  formatReference,
  type PrefetchList,
  parseReference,
  type Reference,
} from "../../../formats/oci/index.ts";
import { parseSource, type SourceSpec } from "../../names/index.ts";
import {
  type PushEvent,
  type PushForm,
  type PushFormat,
  type PushOptions,
  type PushResult,
  pushImages,
} from "../../push/index.ts";
import { UsageError, warn } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import { writeLines, writeOut } from "../ui/output.ts";
import { createProgress, type ProgressView } from "../ui/progress.ts";
import { formatBytes, formatSeconds, parseBytes } from "../ui/units.ts";
import { readPrefetchList } from "./prefetch-file.ts";
import { type ImageToPush, imageOfKey, imagesToPush, type PushImagesOptions } from "./push-images.ts";

export interface PushCommandOptions extends PushImagesOptions {
  readonly to?: string;
  /** See PushForm. */
  readonly as?: string;
  /** See PushFormat. */
  readonly format?: string;
  readonly quiet?: boolean;
  readonly compression: string;
  readonly level?: string;
  readonly chunkSize?: string;
  /** A file with a list. */
  readonly prefetch?: string;
  readonly json?: boolean;
}

/** Pages: what a chunk is a multiple of, in bytes. */
const PAGE_BYTES = 4096;
const MIN_CHUNK_BYTES = 64 << 10;

export async function run(ref: string, options: PushCommandOptions): Promise<void> {
  const result = await push(planPush(ref, options));
  if (options.json) await writeLines([JSON.stringify(result, null, 2)]);
  else if (!options.quiet) await writeOut(pushText(result));
}

/** What was pushed where. */
export interface PushedReference extends PushResult {
  readonly reference: string;
}

/** What is pushed where and how: options that have been found right. */
export interface PushPlan {
  readonly ref: string;
  readonly source: SourceSpec;
  readonly form: PushForm;
  readonly format: PushFormat;
  readonly to: Reference;
  readonly encoding: Encoding;
  readonly prefetch: PrefetchList | undefined;
  readonly options: PushCommandOptions;
}

/** @throws UsageError, DocumentError for what can be known to be wrong without any work */
export function planPush(ref: string, options: PushCommandOptions): PushPlan {
  const form = formOf(options.as);
  const format = formatOf(options, form);
  const source = parseSource(ref);
  return {
    ref,
    source,
    form,
    format,
    to: targetOf(ref, source, options.to, form, format),
    encoding: encodingOf(options),
    prefetch: options.prefetch === undefined ? undefined : readPrefetchList("--prefetch", options.prefetch),
    options,
  };
}

/**
 * Converts what has to be converted, and pushes. Nothing is printed but progress.
 * @param key of the image in the store that is meant, when it is known
 */
export async function push(plan: PushPlan, key?: string): Promise<PushedReference> {
  const { ref, source, form, format, to, encoding, prefetch, options } = plan;
  const progress = await createProgress({ quiet: options.quiet ?? false, stream: process.stderr });
  const interrupt = onInterrupt();
  const images: ImageToPush[] = [];
  try {
    if (key !== undefined) images.push(await imageOfKey(key, options));
    else images.push(...(await imagesToPush(ref, form, options, progress.listener, interrupt.signal)));
    const records = images.map(({ record }) => record);
    if (prefetch !== undefined) checkList(prefetch, records, options.prefetch!, ref);
    const result = await pushImages(records, {
      ...encoding,
      ...(prefetch && { prefetch }),
      storeRoot: options.store ?? defaultStoreRoot(),
      to,
      form,
      format,
      ...(source.kind === "registry" && { source: source.reference }),
      ...(options.plainHttp && { plainHttp: true }),
      retry: { onRetry: (reason) => progress.listener({ type: "retry", index: null, reason }) },
      signal: interrupt.signal,
      onProgress: (event) => tell(progress, formatReference(to), event),
    });
    return { reference: formatReference(to), ...result };
  } finally {
    progress.stop();
    interrupt.dispose();
    for (const { image } of images) image.close();
  }
}

/** For people. */
export function pushText(result: PushedReference): string {
  const rate = formatBytes(result.contentBytes / result.seconds);
  const attached = result.images.map(({ sourceDigest }) => ` attached to ${sourceDigest}`);
  return (
    `${result.reference}@${result.manifestDigest}${result.form === "referrer" ? attached.join(",") : ""}\n` +
    `${formatBytes(result.contentBytes)} in ${result.layers.length} layers, ` +
    `${formatBytes(result.storedBytes)} in the registry, in ${formatSeconds(result.seconds)} (${rate}/s)\n`
  );
}

function formOf(text = "tag"): PushForm {
  if (text === "tag" || text === "index" || text === "referrer") return text;
  throw new UsageError(`--as ${text}: expected tag, index or referrer`);
}

/** @throws UsageError when nothing of the list is of the image */
function checkList(list: PrefetchList, records: readonly ImageRecord[], path: string, ref: string): void {
  const fitted = fitPrefetchList(
    list,
    records.flatMap(({ blobs }) => blobs.map(({ digestHex }): Digest => `sha256:${digestHex}`)),
  );
  if (fitted.ranges.length === 0) throw new UsageError(`--prefetch ${path}: has no range of a blob of ${ref}`);
  if (fitted.strangers.length > 0)
    warn(
      `--prefetch ${path}: ${fitted.strangers.length} of its blobs are not of ${ref}, such as ${fitted.strangers[0]}`,
    );
}

function tell({ listener }: ProgressView, reference: string, event: PushEvent): void {
  if (event.type === "blob") listener({ type: "layer", index: event.index, state: event.state, bytes: event.bytes });
  else
    listener({
      type: "resolved",
      reference,
      layers: event.blobs.map(({ digestHex, size }) => ({ digest: `sha256:${digestHex}`, size })),
    });
}

function formatOf({ format = "erofs", prefetch, verity }: PushCommandOptions, form: PushForm): PushFormat {
  if (format !== "erofs" && format !== "erofs-layers" && format !== "containerd" && format !== "containerd-2.1")
    throw new UsageError(`--format ${format}: expected erofs, erofs-layers, containerd or containerd-2.1`);
  if (format === "erofs") return format;
  if (form !== "tag") throw new UsageError(`--format ${format}: goes under a tag of its own, not as ${form}`);
  if (prefetch !== undefined) throw new UsageError(`--format ${format}: --prefetch is for the merged form`);
  if (verity && format !== "erofs-layers")
    throw new UsageError(`--format ${format}: --verity is for the other formats`);
  return format;
}

/**
 * `--to`; else beside the source, for an index in its place, and for a referrer the repository that it is in: images of archives
 * and directories have no such place.
 */
function targetOf(
  ref: string,
  source: SourceSpec,
  to: string | undefined,
  form: PushForm,
  format: PushFormat,
): Reference {
  if (form !== "tag" && source.kind !== "registry")
    throw new UsageError(`--as ${form}: ${ref} is not in a registry, which such a form belongs to`);
  if (to !== undefined) return parseTarget(to);
  if (source.kind !== "registry") throw new UsageError(noPlace(ref));
  const { registry, repository, tag } = source.reference;
  if (form === "referrer") return { registry, repository };
  if (tag === undefined) throw new UsageError(noPlace(ref));
  return { registry, repository, tag: form === "index" ? tag : `${tag}-${format}` };
}

function noPlace(ref: string): string {
  return `${ref} tells no repository and tag to push to: name one with --to`;
}

function parseTarget(to: string): Reference {
  try {
    const reference = parseReference(to);
    if (reference.digest === undefined) return reference;
  } catch (error) {
    throw error instanceof FormatError ? new UsageError(`--to: ${error.detail}`) : error;
  }
  throw new UsageError(`--to ${to}: a digest cannot be chosen, expected a name with a tag`);
}

type Encoding = Pick<PushOptions, "compression" | "level" | "chunkBytes">;

function encodingOf(options: PushCommandOptions): Encoding {
  const { compression } = options;
  if (compression !== "zstd" && compression !== "none")
    throw new UsageError(`--compression ${compression}: expected zstd or none`);
  if (compression === "zstd" && !hasLibzstd()) {
    warn("libzstd.so.1 is not installed: the blobs go as they are");
    return { compression: "none", ...chunkBytesOf(options) };
  }
  if (options.level === undefined || compression === "none") return { compression, ...chunkBytesOf(options) };
  const level = Number(options.level);
  if (!Number.isInteger(level) || level < 1 || level > libzstdMaxLevel())
    throw new UsageError(`--level ${options.level}: expected 1 to ${libzstdMaxLevel()}`);
  return { compression, level, ...chunkBytesOf(options) };
}

function chunkBytesOf({ chunkSize }: PushCommandOptions): { chunkBytes?: number } {
  if (chunkSize === undefined) return {};
  const chunkBytes = parseBytes(chunkSize, "--chunk-size");
  if (chunkBytes < MIN_CHUNK_BYTES || chunkBytes > MAX_CHUNK_BYTES || chunkBytes % PAGE_BYTES !== 0)
    throw new UsageError(`--chunk-size ${chunkSize}: expected 64KiB to 16MiB, a multiple of 4KiB`);
  return { chunkBytes };
}
