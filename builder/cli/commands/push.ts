import { readFileSync, statSync } from "node:fs";
import { defaultStoreRoot, type ImageRecord } from "../../../blobd/store/index.ts";
import { hasLibzstd, libzstdMaxLevel } from "../../../blobd/sys/index.ts";
import { FormatError } from "../../../formats/bytes/index.ts";
import { MAX_CHUNK_BYTES } from "../../../formats/chunk-index/index.ts";
import {
  type Digest,
  fitPrefetchList,
  formatReference,
  MAX_PREFETCH_BYTES,
  type PrefetchList,
  parsePrefetchList,
  parseReference,
  type Reference,
} from "../../../formats/oci/index.ts";
import { parseSource } from "../../names/index.ts";
import { type PushEvent, type PushOptions, pushImage } from "../../push/index.ts";
import { UsageError, warn } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import { writeLines, writeOut } from "../ui/output.ts";
import { createProgress, type ProgressView } from "../ui/progress.ts";
import { formatBytes, formatSeconds, parseBytes } from "../ui/units.ts";
import { type AcquireOptions, openOrConvert } from "./acquire.ts";

export interface PushCommandOptions extends AcquireOptions {
  readonly to?: string;
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
  const to = targetOf(ref, options.to);
  const how = encodingOf(options);
  const prefetch = options.prefetch === undefined ? undefined : readList(options.prefetch);
  const storeRoot = options.store ?? defaultStoreRoot();
  const image = await openOrConvert(ref, options);
  const progress = await createProgress({ quiet: options.quiet ?? false, stream: process.stderr });
  const interrupt = onInterrupt();
  try {
    if (image.stored === undefined)
      throw new UsageError(`${ref} is a file: expected an image of the store, or a source`);
    const { record } = image.stored;
    if (prefetch !== undefined) checkList(prefetch, record, options.prefetch!, ref);
    const result = await pushImage(record, {
      ...how,
      ...(prefetch && { prefetch }),
      storeRoot,
      to,
      ...(options.plainHttp && { plainHttp: true }),
      retry: { onRetry: (reason) => progress.listener({ type: "retry", index: null, reason }) },
      signal: interrupt.signal,
      onProgress: (event) => tell(progress, formatReference(to), event),
    });
    progress.stop();
    const reference = formatReference(to);
    if (options.json) await writeLines([JSON.stringify({ reference, ...result }, null, 2)]);
    else if (!options.quiet) {
      const rate = formatBytes(result.contentBytes / result.seconds);
      await writeOut(
        `${reference}@${result.manifestDigest}\n${formatBytes(result.contentBytes)} in ${result.layers.length} layers, ` +
          `${formatBytes(result.storedBytes)} in the registry, in ${formatSeconds(result.seconds)} (${rate}/s)\n`,
      );
    }
  } finally {
    progress.stop();
    interrupt.dispose();
    image.close();
  }
}

/** @throws DocumentError, UsageError */
function readList(path: string): PrefetchList {
  const { size } = statSync(path);
  if (size > MAX_PREFETCH_BYTES)
    throw new UsageError(`--prefetch ${path}: has ${size} bytes, expected a list of at most ${MAX_PREFETCH_BYTES}`);
  return parsePrefetchList(readFileSync(path));
}

/** @throws UsageError when nothing of the list is of the image */
function checkList(list: PrefetchList, { blobs }: ImageRecord, path: string, ref: string): void {
  const fitted = fitPrefetchList(
    list,
    blobs.map(({ digestHex }): Digest => `sha256:${digestHex}`),
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

/** `--to`, or beside the source: images of archives and directories have no such place. */
function targetOf(ref: string, to: string | undefined): Reference {
  try {
    if (to !== undefined) {
      const reference = parseReference(to);
      if (reference.digest !== undefined)
        throw new UsageError(`--to ${to}: a digest cannot be chosen, expected a name with a tag`);
      return reference;
    }
  } catch (error) {
    throw error instanceof FormatError ? new UsageError(`--to: ${error.detail}`) : error;
  }
  const source = parseSource(ref);
  if (source.kind !== "registry" || source.reference.tag === undefined)
    throw new UsageError(`${ref} tells no repository and tag to push to: name one with --to`);
  return { ...source.reference, tag: `${source.reference.tag}-erofs` };
}

function encodingOf(options: PushCommandOptions): Pick<PushOptions, "compression" | "level" | "chunkBytes"> {
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
