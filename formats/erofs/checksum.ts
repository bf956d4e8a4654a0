import { SUPER_OFFSET, SuperBlock } from "./format.ts";

const CASTAGNOLI_REFLECTED = 0x82f63b78;
const TABLE = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CASTAGNOLI_REFLECTED : crc >>> 1;
  TABLE[byte] = crc;
}

/** CRC-32C (Castagnoli) of `bytes`, continued from `seed`, without the final inversion. */
export function crc32c(bytes: Uint8Array, seed: number): number {
  let crc = seed;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return crc >>> 0;
}

/**
 * The value of erofs_super_block.checksum: over the rest of the first block from the superblock on, the checksum field
 * itself taken as zero, without a final inversion. Linux fs/erofs/super.c, erofs_superblock_csum_verify.
 *
 * @param firstBlock The image's first block, whole.
 */
export function superBlockChecksum(firstBlock: Uint8Array): number {
  const at = SUPER_OFFSET + SuperBlock.at.checksum;
  let crc = crc32c(firstBlock.subarray(SUPER_OFFSET, at), 0xffffffff);
  crc = crc32c(ZERO_FIELD, crc);
  return crc32c(firstBlock.subarray(at + ZERO_FIELD.length), crc);
}

const ZERO_FIELD = new Uint8Array(4);
