import type { BlobRef } from "../../tree/index.ts";
import { contentUuid } from "../content-uuid.ts";
import { superBlockChecksum } from "../crc32c.ts";
import {
  BLOCK_SIZE_BITS,
  DeviceSlot,
  FEATURE_COMPAT_MTIME,
  FEATURE_COMPAT_SB_CHKSUM,
  FEATURE_INCOMPAT_CHUNKED_FILE,
  FEATURE_INCOMPAT_DEVICE_TABLE,
  SUPER_MAGIC_V1,
  SUPER_OFFSET,
  SuperBlock,
} from "../format.ts";
import { ErofsWriteError } from "./errors.ts";
import type { BuildTime } from "./mtimes.ts";

/** extra_devices is 16 bits wide, and so are device ids. */
export const MAX_DEVICES = 0xffff;
/** Device slots follow the superblock. */
export const DEVICE_TABLE_OFFSET = SUPER_OFFSET + SuperBlock.size;
const DIGEST_HEX = /^[0-9a-f]{64}$/;

export interface SuperBlockValues {
  readonly rootNid: number;
  readonly inodes: number;
  readonly buildTime: BuildTime;
  readonly blocks: number;
  readonly metaBlkAddr: number;
  readonly xattrBlkAddr: number;
  readonly chunked: boolean;
  readonly extraDevices: number;
}

/** Writes the superblock; UUID and checksum stay zero until `seal`. */
export function writeSuperBlock(meta: Uint8Array, values: SuperBlockValues): void {
  const sb = SuperBlock.view(meta, SUPER_OFFSET);
  sb.magic = SUPER_MAGIC_V1;
  sb.featureCompat = FEATURE_COMPAT_SB_CHKSUM | FEATURE_COMPAT_MTIME;
  sb.blkSzBits = BLOCK_SIZE_BITS;
  sb.rootNid = values.rootNid;
  sb.inos = values.inodes;
  sb.buildTime = values.buildTime.seconds;
  sb.buildTimeNsec = values.buildTime.nanos;
  sb.blocks = values.blocks;
  sb.metaBlkAddr = values.metaBlkAddr;
  sb.xattrBlkAddr = values.xattrBlkAddr;
  sb.featureIncompat =
    (values.chunked ? FEATURE_INCOMPAT_CHUNKED_FILE : 0) |
    (values.extraDevices > 0 ? FEATURE_INCOMPAT_DEVICE_TABLE : 0);
  sb.extraDevices = values.extraDevices;
  sb.devtSlotOff = values.extraDevices > 0 ? DEVICE_TABLE_OFFSET / DeviceSlot.size : 0;
}

/** @throws ErofsWriteError for too many blobs or a digest that is none */
export function checkBlobs(blobs: readonly BlobRef[]): void {
  if (blobs.length > MAX_DEVICES)
    throw new ErofsWriteError("ERR_LIMIT", "", `${blobs.length} blobs, the device table holds ${MAX_DEVICES}`);
  for (const { digestHex, blocks } of blobs) {
    if (!DIGEST_HEX.test(digestHex))
      throw new ErofsWriteError("ERR_BAD_TREE", "", `blob digest ${JSON.stringify(digestHex)} is not 64 hex digits`);
    if (!Number.isInteger(blocks) || blocks < 0 || blocks > 0xffffffff)
      throw new ErofsWriteError("ERR_LIMIT", "", `blob ${digestHex} has ${blocks} blocks, the format holds 2^32 - 1`);
  }
}

/** Writes one slot a blob: its digest as the tag, its size, and its place on the flat device. */
export function writeDeviceTable(meta: Buffer, blobs: readonly BlobRef[], blobBaseBlocks: readonly number[]): void {
  for (let i = 0; i < blobs.length; i++) {
    const slot = DeviceSlot.view(meta, DEVICE_TABLE_OFFSET + i * DeviceSlot.size);
    meta.write(blobs[i]!.digestHex, slot.base + DeviceSlot.at.tag, "latin1");
    slot.blocks = blobs[i]!.blocks;
    slot.mappedBlkAddr = blobBaseBlocks[i]!;
  }
}

/**
 * Gives a finished image its UUID, taken from its content, and its checksum.
 * @returns the UUID as text
 */
export function seal(meta: Uint8Array, blobs: readonly BlobRef[]): string {
  const uuid = contentUuid(
    [meta],
    blobs.map(({ digestHex }) => digestHex),
  );
  const sb = SuperBlock.view(meta, SUPER_OFFSET);
  sb.uuid = uuid;
  sb.checksum = superBlockChecksum(meta);
  return uuid.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
