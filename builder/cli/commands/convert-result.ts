/** What `erofsify convert` prints. */
import type { ImageRecord } from "../../../blobd/store/index.ts";
import { VERITY_BLOCK } from "../../../formats/verity/index.ts";
import type { ConvertResult, SingleFile } from "../../image/index.ts";
import type { PullResult } from "../../pull/index.ts";
import { formatBytes, formatSeconds, shortDigest } from "../ui/units.ts";
import type { Obtained } from "./obtain.ts";

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
    bytesOut: bytesOf(record),
    deduplicatedBytes: sum("dedupBytes"),
    dictionaryBytes: sum("dictionaryBytes"),
  };
}

/** For programs. */
export function jsonResult(obtained: Obtained, storeRoot: string, exported: readonly string[]): object {
  return obtained.kind === "pulled"
    ? pulledJson(obtained.result, storeRoot, exported)
    : convertedJson(obtained.result, storeRoot, exported);
}

/** For people. */
export function textResult(obtained: Obtained, storeRoot: string, exported: readonly string[]): string {
  const { record } = obtained.result;
  const lines = [
    ["image", obtained.kind === "pulled" ? (record.references.at(-1) as string) : obtained.result.reference],
    ["result", placeOf(record, storeRoot, exported)],
    ...(obtained.kind === "pulled" ? pulledLines(obtained.result) : convertedLines(obtained.result)),
    ...(record.meta.verity ? [["dm-verity", `root of the metadata ${record.meta.verity.rootHex}`]] : []),
    ["time", formatSeconds(obtained.result.seconds)],
  ];
  return lines.map(([name, value]) => `${`${name}:`.padEnd(14)}${value}\n`).join("");
}

/** How to open a flat file with a hash tree, for people. */
export function singleText({ path, verity }: SingleFile): string {
  if (verity === undefined) return "";
  const offset = verity.dataBlocks * VERITY_BLOCK;
  return `\n  veritysetup open ${path} NAME ${path} ${verity.rootHex} --hash-offset=${offset}\n`;
}

function placeOf({ meta, references }: ImageRecord, storeRoot: string, exported: readonly string[]): string {
  if (exported.length > 0) return exported.join(", ");
  return `${storeRoot}/blobs/sha256/${shortDigest(meta.digestHex)}… (try: erofsify mount ${references.at(-1)} /mnt)`;
}

function pulledTotals({ layers, record }: PullResult) {
  return {
    layers: layers.length,
    layersFetched: layers.filter(({ cached }) => !cached).length,
    bytesIn: layers.reduce((total, { size, cached }) => total + (cached ? 0 : size), 0),
    bytesOut: bytesOf(record),
  };
}

function pulledJson(result: PullResult, storeRoot: string, exported: readonly string[]): object {
  const { record } = result;
  return {
    reference: record.references.at(-1),
    manifestDigest: record.manifestDigest,
    store: storeRoot,
    image: result.key,
    meta: record.meta,
    blobs: record.blobs,
    exported,
    cached: result.layers.every(({ cached }) => cached),
    converted: { how: result.how, manifestDigest: `sha256:${result.key}` },
    ...pulledTotals(result),
    seconds: result.seconds,
    layerDetails: result.layers,
  };
}

function pulledLines(result: PullResult): string[][] {
  const t = pulledTotals(result);
  const how = { itself: "pushed as it is", index: "from the image's index", referrer: "attached to the image" };
  return [
    ["converted", `${how[result.how]}, sha256:${result.key}`],
    ["layers", `${t.layers} (${t.layersFetched} fetched, ${t.layers - t.layersFetched} found in the store)`],
    ["bytes in", formatBytes(t.bytesIn)],
    ["bytes out", `${formatBytes(t.bytesOut)} in ${counted(result.record.blobs.length, "blob")} and metadata`],
  ];
}

function bytesOf({ meta, blobs }: ImageRecord): number {
  return meta.size + blobs.reduce((total, { size }) => total + size, 0);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function convertedJson(result: ConvertResult, storeRoot: string, exported: readonly string[]): object {
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

function convertedLines(result: ConvertResult): string[][] {
  const t = totals(result);
  return [
    ["layers", `${t.layers} (${t.layersConverted} converted, ${t.layers - t.layersConverted} found in the store)`],
    ["files", `${t.files} in the layers, ${t.inodes} inodes in the image`],
    ["bytes in", `${formatBytes(t.bytesIn)} (${formatBytes(t.tarBytes)} unpacked)`],
    ["bytes out", `${formatBytes(t.bytesOut)} in ${counted(result.record.blobs.length, "blob")} and metadata`],
    ["deduplicated", formatBytes(t.deduplicatedBytes)],
    ...(t.dictionaryBytes > 0 ? [["of that", `${formatBytes(t.dictionaryBytes)} in images of --dict`]] : []),
  ];
}
