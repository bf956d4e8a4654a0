import { escapeBytes } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import {
  DeviceSlot,
  FEATURE_COMPAT_MTIME,
  FEATURE_COMPAT_SB_CHKSUM,
  FEATURE_INCOMPAT_CHUNKED_FILE,
  FEATURE_INCOMPAT_DEVICE_TABLE,
  SUPER_OFFSET,
  SuperBlock,
} from "../format.ts";
import { type Image, requireChecksum } from "../reader/index.ts";
import type { Claims } from "./claims.ts";
import type { Problems } from "./problems.ts";
import { requireZero } from "./zero.ts";

const OUR_COMPAT = FEATURE_COMPAT_SB_CHKSUM | FEATURE_COMPAT_MTIME;
const OUR_INCOMPAT = FEATURE_INCOMPAT_CHUNKED_FILE | FEATURE_INCOMPAT_DEVICE_TABLE;
const SHA256_HEX = /^[0-9a-f]{64}$/;

/** Checks the superblock and the device table, and claims their bytes. */
export function checkHeader(image: Image, problems: Problems, claims: Claims, strict: boolean): void {
  const { superblock, pages } = image;
  const { checksum } = superblock;
  if (checksum !== null) problems.attempt(null, () => requireChecksum(pages.bytes(0, BLOCK_SIZE), checksum));
  claims.add(null, 0, SUPER_OFFSET + SuperBlock.size);
  claims.add(null, superblock.devtSlotOff * DeviceSlot.size, superblock.extraDevices * DeviceSlot.size);
  checkUnifiedAddresses(image, problems);
  if (!strict) return;
  checkOurSuperblock(image, problems);
  for (let i = 0; i < image.devices.length; i++) checkOurDevice(image, i, problems);
}

/** Devices must not share addresses, neither with each other nor with the image itself. */
function checkUnifiedAddresses(image: Image, problems: Problems): void {
  let end = 0;
  for (const range of image.unified) {
    if (range.start < end)
      problems.add(
        null,
        "erofs_deviceslot.mappedBlkAddr",
        slotOffset(image, range.slot) + DeviceSlot.at.mappedBlkAddr,
        `found block ${range.start}, the device before it ends at block ${end}`,
      );
    end = Math.max(end, range.end);
  }
}

function checkOurSuperblock(image: Image, problems: Problems): void {
  const { superblock, pages } = image;
  const add = (field: keyof typeof SuperBlock.at, detail: string): void =>
    problems.add(null, `erofs_super_block.${field}`, SUPER_OFFSET + SuperBlock.at[field], detail);
  const { featureCompat, featureIncompat } = superblock;
  if ((featureCompat & FEATURE_COMPAT_SB_CHKSUM) === 0) add("featureCompat", "found no SB_CHKSUM, expected a checksum");
  if ((featureCompat & ~OUR_COMPAT) !== 0)
    add("featureCompat", `found 0x${featureCompat.toString(16)}, expected no more than 0x${OUR_COMPAT.toString(16)}`);
  if ((featureIncompat & ~OUR_INCOMPAT) !== 0)
    add(
      "featureIncompat",
      `found 0x${featureIncompat.toString(16)}, expected no more than 0x${OUR_INCOMPAT.toString(16)}`,
    );
  requireZero(pages, problems, null, "boot area", 0, SUPER_OFFSET);
  const { at } = SuperBlock;
  requireZero(
    pages,
    problems,
    null,
    "erofs_super_block.reserved2",
    SUPER_OFFSET + at.xattrFilterReserved,
    SuperBlock.size - at.xattrFilterReserved,
  );
}

function checkOurDevice(image: Image, slot: number, problems: Problems): void {
  const { tag, blocks, mappedBlkAddr } = image.devices[slot]!;
  const offset = slotOffset(image, slot);
  const add = (field: keyof typeof DeviceSlot.at, detail: string): void =>
    problems.add(null, `erofs_deviceslot.${field}`, offset + DeviceSlot.at[field], detail);
  if (!SHA256_HEX.test(tag)) add("tag", `found ${escapeBytes(tag)}, expected 64 hex digits`);
  if (blocks === 0) add("blocks", "found 0, expected the device's size");
  if (mappedBlkAddr < image.superblock.blocks)
    add("mappedBlkAddr", `found block ${mappedBlkAddr}, the image itself ends at block ${image.superblock.blocks}`);
  requireZero(
    image.pages,
    problems,
    null,
    "erofs_deviceslot.reserved",
    offset + DeviceSlot.at.reserved,
    DeviceSlot.size - DeviceSlot.at.reserved,
  );
}

function slotOffset(image: Image, slot: number): number {
  return (image.superblock.devtSlotOff + slot) * DeviceSlot.size;
}
