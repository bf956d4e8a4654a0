import { type ByteString, FormatError, fromBytes } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import { superBlockChecksum } from "../crc32c.ts";
import {
  BLOCK_SIZE_BITS,
  DeviceSlot,
  FEATURE_COMPAT_SB_CHKSUM,
  FEATURE_INCOMPAT_CHUNKED_FILE,
  FEATURE_INCOMPAT_DEVICE_TABLE,
  SUPER_MAGIC_V1,
  SUPER_OFFSET,
  SuperBlock,
} from "../format.ts";
import type { Pages } from "./pages.ts";

/** Feature bits that this reader meets but whose data it does not decode. Linux fs/erofs/erofs_fs.h. */
const FEATURE_INCOMPAT_LZ4_0PADDING = 0x1;
const FEATURE_INCOMPAT_COMPR_CFGS = 0x2;
const FEATURE_INCOMPAT_ZTAILPACKING = 0x10;
const FEATURE_INCOMPAT_FRAGMENTS = 0x20;
export const FEATURE_INCOMPAT_XATTR_PREFIXES = 0x40;
const FEATURE_INCOMPAT_48BIT = 0x80;
const FEATURE_INCOMPAT_METABOX = 0x100;

/** These concern compressed inodes only: such an image opens, and its compressed inodes are refused one by one. */
const UNDERSTOOD =
  FEATURE_INCOMPAT_LZ4_0PADDING |
  FEATURE_INCOMPAT_COMPR_CFGS |
  FEATURE_INCOMPAT_CHUNKED_FILE |
  FEATURE_INCOMPAT_DEVICE_TABLE |
  FEATURE_INCOMPAT_ZTAILPACKING |
  FEATURE_INCOMPAT_FRAGMENTS |
  FEATURE_INCOMPAT_XATTR_PREFIXES;

/** The superblock, decoded. Addresses are in blocks of 4 KiB. */
export interface Superblock {
  readonly featureCompat: number;
  readonly featureIncompat: number;
  /** CRC-32C, or null when the image has none. */
  readonly checksum: number | null;
  readonly rootNid: number;
  /** Number of inodes, as the image says. */
  readonly inos: number;
  /** Seconds since 1970: the mtime of compact inodes. */
  readonly buildTime: number;
  readonly buildTimeNsec: number;
  /** Size of the image itself, in blocks, without its devices. */
  readonly blocks: number;
  readonly metaBlkAddr: number;
  readonly xattrBlkAddr: number;
  /** 32 hex digits. */
  readonly uuidHex: string;
  readonly volumeName: ByteString;
  readonly devtSlotOff: number;
  readonly extraDevices: number;
  readonly xattrPrefixCount: number;
  readonly xattrPrefixStart: number;
  readonly packedNid: number;
}

/** A slot of the device table. */
export interface Device {
  /** What the image calls the device, without trailing zeros: for images of this project the blob's sha256 in hex. */
  readonly tag: ByteString;
  /** Size in 4 KiB blocks; 0 where the image leaves it open, as mkfs.erofs 1.5 does. */
  readonly blocks: number;
  /** Where the device starts in the flattened address space, in 4 KiB blocks; 0 when it has no such place. */
  readonly mappedBlkAddr: number;
}

/**
 * Reads and validates the superblock.
 *
 * @param verifyChecksum Whether a wrong checksum is an error.
 * @throws FormatError
 */
export function readSuperblock(pages: Pages, verifyChecksum: boolean): Superblock {
  const head = pages.bytes(0, Math.min(BLOCK_SIZE, pages.size));
  const sb = SuperBlock.view(head, SUPER_OFFSET);
  if (sb.magic !== SUPER_MAGIC_V1)
    throw bad("ERR_BAD_VALUE", "magic", `found ${hex(sb.magic)}, expected ${hex(SUPER_MAGIC_V1)}`);
  if (sb.blkSzBits !== BLOCK_SIZE_BITS)
    throw bad("ERR_UNSUPPORTED", "blkSzBits", `found ${sb.blkSzBits}, only 12 (blocks of 4 KiB) is supported`);
  if (head.length < BLOCK_SIZE)
    throw new FormatError("ERR_TRUNCATED", "erofs image", 0, `has ${head.length} bytes, less than one block`);
  refuseFeatures(sb.featureIncompat);
  const hasChecksum = (sb.featureCompat & FEATURE_COMPAT_SB_CHKSUM) !== 0;
  if (hasChecksum && verifyChecksum) requireChecksum(head, sb.checksum);
  if (sb.dirBlkBits !== 0) throw bad("ERR_UNSUPPORTED", "dirBlkBits", `found ${sb.dirBlkBits}, only 0 is supported`);
  if (sb.blocks * BLOCK_SIZE > pages.size)
    throw bad("ERR_TRUNCATED", "blocks", `found ${sb.blocks} blocks of 4096 bytes, the image has ${pages.size} bytes`);
  if (sb.buildTimeNsec >= 1e9)
    throw bad("ERR_BAD_VALUE", "buildTimeNsec", `found ${sb.buildTimeNsec}, expected < 10^9`);
  const hasPrefixes = (sb.featureIncompat & FEATURE_INCOMPAT_XATTR_PREFIXES) !== 0;
  return {
    featureCompat: sb.featureCompat,
    featureIncompat: sb.featureIncompat,
    checksum: hasChecksum ? sb.checksum : null,
    rootNid: sb.rootNid,
    inos: sb.inos,
    buildTime: sb.buildTime,
    buildTimeNsec: sb.buildTimeNsec,
    blocks: sb.blocks,
    metaBlkAddr: sb.metaBlkAddr,
    xattrBlkAddr: sb.xattrBlkAddr,
    uuidHex: Buffer.from(sb.uuid).toString("hex"),
    volumeName: untilNul(sb.volumeName),
    devtSlotOff: sb.devtSlotOff,
    extraDevices: (sb.featureIncompat & FEATURE_INCOMPAT_DEVICE_TABLE) !== 0 ? sb.extraDevices : 0,
    xattrPrefixCount: hasPrefixes ? sb.xattrPrefixCount : 0,
    xattrPrefixStart: sb.xattrPrefixStart,
    packedNid: sb.packedNid,
  };
}

/** Compares the stored checksum with the block's. @throws FormatError ERR_BAD_VALUE */
export function requireChecksum(firstBlock: Uint8Array, stored: number): void {
  const computed = superBlockChecksum(firstBlock);
  if (computed !== stored) throw bad("ERR_BAD_VALUE", "checksum", `found ${hex(stored)}, computed ${hex(computed)}`);
}

/** The device table; its length is a 16-bit field, so it needs no further limit than the image's size. */
export function readDevices(pages: Pages, superblock: Superblock): Device[] {
  const count = superblock.extraDevices;
  if (count === 0) return [];
  const at = superblock.devtSlotOff * DeviceSlot.size;
  const slot = DeviceSlot.view(pages.bytes(at, count * DeviceSlot.size));
  const devices: Device[] = [];
  for (let i = 0; i < count; i++) {
    slot.base = i * DeviceSlot.size;
    devices.push({ tag: untilNul(slot.tag), blocks: slot.blocks, mappedBlkAddr: slot.mappedBlkAddr });
  }
  return devices;
}

function refuseFeatures(featureIncompat: number): void {
  const unknown = (featureIncompat & ~UNDERSTOOD) >>> 0;
  if (unknown === 0) return;
  const names = [];
  if (unknown & FEATURE_INCOMPAT_48BIT) names.push("48-bit block addresses");
  if (unknown & FEATURE_INCOMPAT_METABOX) names.push("metabox (compressed metadata)");
  const what = names.length > 0 ? ` (${names.join(", ")})` : "";
  throw bad("ERR_UNSUPPORTED", "featureIncompat", `found ${hex(unknown)}${what}, which this reader does not know`);
}

function bad(
  code: "ERR_BAD_VALUE" | "ERR_UNSUPPORTED" | "ERR_TRUNCATED",
  field: keyof typeof SuperBlock.at,
  detail: string,
): FormatError {
  return new FormatError(code, `erofs_super_block.${field}`, SUPER_OFFSET + SuperBlock.at[field], detail);
}

function untilNul(bytes: Uint8Array): ByteString {
  const end = bytes.indexOf(0);
  return fromBytes(bytes, 0, end === -1 ? bytes.length : end);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
