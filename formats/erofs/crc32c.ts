/** CRC32C (Castagnoli, reflected 0x82f63b78), table-driven: here it covers one block an image, so simple beats fast. */
import { BLOCK_SIZE_BITS, SUPER_OFFSET, SuperBlock } from "./format.ts";

const TABLE = makeTable();

function makeTable(): Int32Array {
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    table[byte] = crc;
  }
  return table;
}

/**
 * CRC32C as in RFC 3720: `crc32c(b, crc32c(a))` is the CRC of `a` followed by `b`.
 *
 * @example crc32c(Buffer.from("123456789")) === 0xe3069283;
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

const ZERO = new Uint8Array(4);

/**
 * What `erofs_super_block.checksum` has to be: over the first block from the superblock on, with the checksum itself
 * taken as zero, and without CRC32C's last inversion (Linux fs/erofs/super.c, erofs_superblock_csum_verify).
 *
 * @param firstBlock at least the image's first 4096 bytes
 */
export function superBlockChecksum(firstBlock: Uint8Array): number {
  const field = SUPER_OFFSET + SuperBlock.at.checksum;
  const before = crc32c(firstBlock.subarray(SUPER_OFFSET, field));
  const whole = crc32c(firstBlock.subarray(field + 4, 1 << BLOCK_SIZE_BITS), crc32c(ZERO, before));
  return ~whole >>> 0;
}
