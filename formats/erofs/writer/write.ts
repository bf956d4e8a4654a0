import { roundUp } from "../../bytes/index.ts";
import { BLOCK_SIZE, type BlobRef, type Tree } from "../../tree/index.ts";
import { DeviceSlot, ISLOT_SIZE } from "../format.ts";
import { ErofsWriteError } from "./errors.ts";
import { type Areas, writeInodes } from "./inode.ts";
import { layOut } from "./layout.ts";
import { measureInode } from "./measure.ts";
import { MtimeTally } from "./mtimes.ts";
import { planTree } from "./plan.ts";
import { checkBlobs, DEVICE_TABLE_OFFSET, seal, writeDeviceTable, writeSuperBlock } from "./superblock.ts";
import { writeShared, XattrPlan } from "./xattrs.ts";

export interface WriteOptions {
  /**
   * `devices`: the data stays in the blobs. Device slot i + 1 is `tree.blobs[i]`, tagged with its digest; its mapped
   * address makes [metadata][blob 0][blob 1]…, each but the last padded to 2 MiB, one flat device (Linux 6.4 and later
   * mount that without `device=`). A file must not go on in another blob at the block number at which it left one:
   * see isMisreadAfter.
   *
   * `flat`: one image without a device table. Chunk addresses are absolute, and the blobs are expected behind the
   * metadata at `blobBaseBlocks`. Mounts on Linux 5.16 and later.
   */
  readonly layout: "devices" | "flat";
}

export interface ErofsImage {
  /** Superblock to last metadata block, whole blocks. */
  readonly meta: Uint8Array;
  /** Each blob's place on the flat device, in 4 KiB blocks, a multiple of 2 MiB. */
  readonly blobBaseBlocks: readonly number[];
  /** Size of the flat device in 4 KiB blocks; the last blob is not padded. */
  readonly totalBlocks: number;
  /** Volume UUID, derived from the content. */
  readonly uuid: string;
  readonly inodes: number;
}

/** Blobs start at multiples of this on the flat device, 2 MiB, so that huge pages can map them. */
const BLOB_ALIGN_BLOCKS = 512;
/** Block addresses are 32 bits wide; the last one says "hole". */
const MAX_BLOCKS = 0xffffffff;
/** Metadata larger than this is refused: it is held in memory as one piece. */
const MAX_META_BYTES = 2 ** 31;

/**
 * Writes a tree as the metadata of an EROFS image (layout: format.ts) in the feature set of Linux 5.16. A pure function:
 * the same tree gives the same bytes, whatever the order in which it was filled.
 *
 * @throws ErofsWriteError, naming the path, for what the format cannot hold or a tree that breaks its own rules
 * @example
 * const { meta } = writeErofs({ root, blobs: [{ digestHex, blocks }] }, { layout: "devices" });
 * // mount -t erofs -o device=/dev/loop1 /dev/loop0 /mnt, with meta on loop0 and the blob on loop1
 */
export function writeErofs(tree: Tree, options: WriteOptions): ErofsImage {
  checkBlobs(tree.blobs);
  const withDevices = options.layout === "devices";
  const xattrs = new XattrPlan();
  const mtimes = new MtimeTally();
  const items = planTree(tree, (item) => {
    measureInode(item, tree.blobs, withDevices);
    item.mtimeId = mtimes.add(item.inode.mtimeSeconds, item.inode.mtimeNanos);
    if (item.inode.xattrs.length > 0) xattrs.add(item);
  });
  const { shared, sharedBytes } = xattrs.finish();
  const build = mtimes.mostCommon();

  const sharedStart = DEVICE_TABLE_OFFSET + (withDevices ? tree.blobs.length * DeviceSlot.size : 0);
  const inodesStart = roundUp(sharedStart + sharedBytes, ISLOT_SIZE);
  const layout = layOut(items, build.id, inodesStart);
  if (layout.end > MAX_META_BYTES)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      "",
      `${layout.end} bytes of metadata, at most ${MAX_META_BYTES} are written`,
    );
  const metaBlocks = layout.end / BLOCK_SIZE;
  const { blobBaseBlocks, totalBlocks } = placeBlobs(tree.blobs, metaBlocks);

  const meta = Buffer.alloc(layout.end);
  const metaBlkAddr = Math.floor(inodesStart / BLOCK_SIZE);
  const xattrBlkAddr = Math.floor(sharedStart / BLOCK_SIZE);
  const areas: Areas = {
    metaStart: metaBlkAddr * BLOCK_SIZE,
    dataStart: layout.dataStart,
    sharedXattrBase: sharedStart % BLOCK_SIZE,
    blobs: blobBaseBlocks.map((baseBlocks, i) =>
      withDevices ? { deviceId: i + 1, baseBlocks: 0 } : { deviceId: 0, baseBlocks },
    ),
  };
  writeInodes(meta, items, areas);
  writeShared(meta, shared, sharedStart);
  if (withDevices) writeDeviceTable(meta, tree.blobs, blobBaseBlocks);
  writeSuperBlock(meta, {
    rootNid: (items[0]!.offset - areas.metaStart) / ISLOT_SIZE,
    inodes: items.length,
    buildTime: build.time,
    blocks: withDevices ? metaBlocks : totalBlocks,
    metaBlkAddr,
    xattrBlkAddr,
    chunked: layout.chunked,
    extraDevices: withDevices ? tree.blobs.length : 0,
  });
  const uuid = seal(meta, tree.blobs);
  return { meta, blobBaseBlocks, totalBlocks, uuid, inodes: items.length };
}

function placeBlobs(blobs: readonly BlobRef[], metaBlocks: number): { blobBaseBlocks: number[]; totalBlocks: number } {
  let totalBlocks = metaBlocks;
  const blobBaseBlocks = blobs.map(({ blocks }) => {
    const base = roundUp(totalBlocks, BLOB_ALIGN_BLOCKS);
    totalBlocks = base + blocks;
    return base;
  });
  if (totalBlocks > MAX_BLOCKS)
    throw new ErofsWriteError(
      "ERR_LIMIT",
      "",
      `metadata and ${blobs.length} blobs take ${totalBlocks} blocks of 4 KiB, the format addresses ${MAX_BLOCKS}`,
    );
  return { blobBaseBlocks, totalBlocks };
}
