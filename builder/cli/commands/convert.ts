import { statSync } from "node:fs";
import { dirname } from "node:path";
import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { type ConvertResult, convertImage, exportDirectory, exportSingle } from "../../image/index.ts";
import { UsageError } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import { writeLines, writeOut } from "../ui/output.ts";
import { createProgress } from "../ui/progress.ts";
import { formatBytes, formatSeconds, parseBytes, shortDigest } from "../ui/units.ts";
import { type SourceCommandOptions, sourceOf } from "./source.ts";

export interface ConvertCommandOptions extends SourceCommandOptions {
  readonly output?: string;
  readonly single?: string;
  readonly jobs?: string;
  readonly threads?: string;
  readonly inlineTails?: boolean;
  readonly verity?: boolean;
  readonly maxLayerSize?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly store?: string;
}

export async function run(ref: string, options: ConvertCommandOptions): Promise<void> {
  const spec = sourceOf(ref, options);
  const storeRoot = options.store ?? defaultStoreRoot();
  const convertOptions = {
    storeRoot,
    layer: { inlineTails: options.inlineTails ?? false, verity: options.verity ?? false },
    ...(options.jobs !== undefined && { jobs: parseCount("--jobs", options.jobs) }),
    ...(options.threads !== undefined && { threads: parseCount("--threads", options.threads) }),
    ...(options.maxLayerSize !== undefined && { maxBlobBytes: parseBytes(options.maxLayerSize, "--max-layer-size") }),
  };
  checkTargets(options);
  const progress = await createProgress({ quiet: options.quiet ?? false, stream: process.stderr });
  const interrupt = onInterrupt();
  const { signal } = interrupt;
  try {
    const result = await convertImage(spec, { ...convertOptions, onProgress: progress.listener, signal });
    progress.stop();
    const { record } = result;
    const exported: string[] = [];
    if (options.output !== undefined) exported.push(await exportDirectory(storeRoot, record, options.output, signal));
    if (options.single !== undefined) exported.push(await exportSingle(storeRoot, record, options.single, signal));
    if (options.json) await writeLines([JSON.stringify(jsonResult(result, storeRoot, exported), null, 2)]);
    else if (!options.quiet) await writeOut(textResult(result, storeRoot, exported));
  } finally {
    progress.stop();
    interrupt.dispose();
  }
}

/** Finds out before the work, not after it, that its result has no place to go to. */
function checkTargets({ output, single, verity }: ConvertCommandOptions): void {
  if (single !== undefined && verity)
    throw new UsageError("--single and --verity exclude each other: a hash tree belongs to a file of the store");
  const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory();
  if (output !== undefined && isFolder(output) === false)
    throw new UsageError(`--output ${output}: is a file, expected a folder or nothing`);
  if (single === undefined) return;
  if (isFolder(single)) throw new UsageError(`--single ${single}: is a folder, expected a file or nothing`);
  if (!isFolder(dirname(single))) throw new UsageError(`--single ${single}: there is no folder ${dirname(single)}`);
}

function parseCount(option: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 256)
    throw new UsageError(`${option} ${text}: expected a number from 1 to 256`);
  return count;
}

/** Sums over the layers; sizes in bytes. */
function totals({ layers, record }: ConvertResult) {
  const sum = (name: string) => layers.reduce((total, layer) => total + (layer.record.stats[name] ?? 0), 0);
  return {
    layers: layers.length,
    layersConverted: layers.filter(({ cached }) => !cached).length,
    inodes: record.stats.inodes ?? 0,
    files: sum("files"),
    bytesIn: layers.reduce((total, { size }) => total + size, 0),
    tarBytes: sum("tarBytes"),
    bytesOut: record.meta.size + record.blobs.reduce((total, { size }) => total + size, 0),
    deduplicatedBytes: sum("dedupBytes"),
  };
}

function jsonResult(result: ConvertResult, storeRoot: string, exported: readonly string[]): object {
  return {
    reference: result.reference,
    manifestDigest: result.record.manifestDigest,
    store: storeRoot,
    image: result.key,
    meta: result.record.meta,
    blobs: result.record.blobs,
    exported,
    cached: result.cached,
    ...totals(result),
    seconds: result.seconds,
    layerDetails: result.layers.map(({ digest, size, cached, record }) => ({
      digest,
      size,
      cached,
      meta: record.meta,
      blob: record.blob,
      stats: record.stats,
    })),
  };
}

function textResult(result: ConvertResult, storeRoot: string, exported: readonly string[]): string {
  const t = totals(result);
  const lines = [
    ["image", result.reference],
    [
      "result",
      exported.length > 0
        ? exported.join(", ")
        : `${storeRoot}/blobs/sha256/${shortDigest(result.record.meta.digestHex)}… (try: erofsify mount ${result.record.references.at(-1)} /mnt)`,
    ],
    ["layers", `${t.layers} (${t.layersConverted} converted, ${t.layers - t.layersConverted} found in the store)`],
    ["files", `${t.files} in the layers, ${t.inodes} inodes in the image`],
    ["bytes in", `${formatBytes(t.bytesIn)} (${formatBytes(t.tarBytes)} unpacked)`],
    [
      "bytes out",
      `${formatBytes(t.bytesOut)} in ${result.record.blobs.length} blob${result.record.blobs.length === 1 ? "" : "s"} and metadata`,
    ],
    ["deduplicated", formatBytes(t.deduplicatedBytes)],
    ...(result.record.meta.verity ? [["dm-verity", `root of the metadata ${result.record.meta.verity.rootHex}`]] : []),
    ["time", formatSeconds(result.seconds)],
  ];
  return lines.map(([name, value]) => `${`${name}:`.padEnd(14)}${value}\n`).join("");
}
