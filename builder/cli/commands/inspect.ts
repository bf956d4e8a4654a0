import type { StoredFile } from "../../../blobd/store/index.ts";
import { imageStats } from "../../../formats/erofs/check/index.ts";
import type { ErofsReader } from "../../../formats/erofs/index.ts";
import type { OpenedImage } from "../../open/index.ts";
import { table, writeLines } from "../ui/output.ts";
import { formatBytes, shortDigest } from "../ui/units.ts";
import { type ImageOptions, withImage } from "./open.ts";

export async function run(target: string, options: ImageOptions & { readonly json?: boolean }): Promise<void> {
  await withImage(target, options, async (image) => {
    const report = describe(image);
    if (options.json) await writeLines([JSON.stringify(report, null, 2)]);
    else await writeLines(textReport(report));
  });
}

/** Everything that inspect tells; sizes in bytes unless they are called blocks. */
function describe({ reader, metaPath, devicePaths, stored }: OpenedImage) {
  return {
    ...(stored && { references: stored.record.references, manifestDigest: stored.record.manifestDigest }),
    path: metaPath,
    ...(stored?.record.meta.verity && { verity: [stored.record.meta, ...stored.record.blobs].map(verityOf) }),
    superblock: describeSuperblock(reader),
    devices: reader.devices.map((device, index) => ({ slot: index + 1, ...device, path: devicePaths[index] ?? null })),
    statistics: imageStats(reader),
    ...(stored && {
      layers: stored.layers.map(({ layerDigest, blob, stats }) => ({
        digest: layerDigest,
        blob: blob?.digestHex ?? null,
        stats,
      })),
    }),
  };
}

/** The hash tree of a file, metadata first. */
function verityOf({ digestHex, verity }: StoredFile) {
  return { file: digestHex, dataBlocks: verity?.dataBlocks ?? null, rootHex: verity?.rootHex ?? null };
}

function describeSuperblock(reader: ErofsReader) {
  const { uuidHex, buildTime, buildTimeNsec, featureCompat, featureIncompat, blocks, inos } = reader.superblock;
  return {
    uuid: uuidHex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    buildTime: `${buildTime}.${String(buildTimeNsec).padStart(9, "0")}`,
    featureCompat: `0x${featureCompat.toString(16)}`,
    featureIncompat: `0x${featureIncompat.toString(16)}`,
    blocks,
    inodes: inos,
  };
}

function* textReport(report: ReturnType<typeof describe>): Generator<string> {
  const { superblock, devices, statistics: s, verity, layers } = report;
  yield* table([
    ...(report.references ? [["image:", report.references.join(", ")]] : []),
    ...(report.manifestDigest ? [["manifest:", report.manifestDigest]] : []),
    ["metadata:", `${report.path} (${superblock.blocks} blocks of 4 KiB)`],
    ["UUID:", superblock.uuid],
    ["build time:", `${superblock.buildTime} s`],
    ["features:", `compat ${superblock.featureCompat}, incompat ${superblock.featureIncompat}`],
    ["inodes:", `${s.inodes} (${s.compactInodes} compact, ${s.extendedInodes} extended)`],
    [
      "files:",
      `${s.regularFiles} regular, ${s.directories} directories, ${s.symlinks} symlinks, ${s.charDevices + s.blockDevices} devices, ${s.fifos} fifos, ${s.names} names`,
    ],
    ["xattrs:", `${s.xattrs} on ${s.inodesWithXattrs} inodes, ${s.sharedXattrs} shared entries`],
    ["extents:", String(s.extents)],
  ]);
  if (devices.length > 0) {
    yield "";
    yield* table([
      ["slot", "blob", "size", "used", "shared", "flat address"],
      ...devices.map(({ slot, tag, blocks, mappedBlkAddr }) => {
        const use = s.devices.find((device) => device.tag === tag);
        return [
          String(slot),
          shortDigest(tag),
          formatBytes(blocks * 4096),
          formatBytes((use?.usedBlocks ?? 0) * 4096),
          formatBytes(use?.dedupedBytes ?? 0),
          `block ${mappedBlkAddr}`,
        ];
      }),
    ]);
  }
  if (verity) {
    yield "";
    yield* table([
      ["hash tree over", "root", "data"],
      ...verity.map(({ file, dataBlocks, rootHex }) => [
        shortDigest(file),
        rootHex ?? "none",
        formatBytes((dataBlocks ?? 0) * 4096),
      ]),
    ]);
  }
  if (layers) {
    yield "";
    yield* table([
      ["layer", "files", "unpacked", "deduplicated", "holes"],
      ...layers.map(({ digest, stats }) => [
        shortDigest(digest),
        String(stats.files ?? 0),
        formatBytes(stats.logicalBytes ?? 0),
        formatBytes(stats.dedupBytes ?? 0),
        formatBytes(stats.holeBytes ?? 0),
      ]),
    ]);
  }
}
