import { createHash } from "node:crypto";
import {
  DIGEST_BYTES,
  DIGESTS_PER_BLOCK,
  HASH_TYPE_NORMAL,
  VERITY_ALGORITHM,
  VERITY_BLOCK,
  VERITY_SALT,
  VERITY_SIGNATURE,
  VERITY_VERSION,
  type VerityRoot,
  VeritySuperblock,
} from "./format.ts";

/** What goes behind the data. */
export interface VerityTail extends VerityRoot {
  /** Superblock and tree, in order, whole blocks. */
  readonly pieces: readonly Uint8Array[];
}

/**
 * Builds the tree over the digests of data blocks. They come in pieces because there may be gigabytes of them; no piece is
 * copied.
 *
 * @param leaves digests in the order of their blocks, each piece whole blocks of the tree (a multiple of 4096 bytes), zeros
 *   behind the last digest
 * @param dataBlocks at least 1; how many digests are in `leaves`
 * @example
 * verityTail([leafBlock(blocks)], blocks.length).rootHex
 */
export function verityTail(leaves: readonly Uint8Array[], dataBlocks: number): VerityTail {
  const bytes = leaves.reduce((sum, piece) => sum + piece.length, 0);
  if (dataBlocks < 1 || bytes !== Math.ceil(dataBlocks / DIGESTS_PER_BLOCK) * VERITY_BLOCK)
    throw new RangeError(`verityTail: ${bytes} bytes of digests for ${dataBlocks} blocks`);
  const levels: (readonly Uint8Array[])[] = [];
  let level = leaves;
  let digests = dataBlocks;
  while (digests > 1) {
    levels.unshift(level);
    digests = Math.ceil(digests / DIGESTS_PER_BLOCK);
    level = [levelAbove(level, digests)];
  }
  const root = Buffer.from(level[0]!.subarray(0, DIGEST_BYTES));
  return { dataBlocks, rootHex: root.toString("hex"), pieces: [superblock(dataBlocks, root), ...levels.flat()] };
}

/** The digest of one block. */
export function blockDigest(block: Uint8Array): Buffer {
  return createHash("sha256").update(VERITY_SALT).update(block).digest();
}

function levelAbove(level: readonly Uint8Array[], blocks: number): Uint8Array {
  const above = new Uint8Array(Math.ceil(blocks / DIGESTS_PER_BLOCK) * VERITY_BLOCK);
  let at = 0;
  for (const piece of level)
    for (let start = 0; start < piece.length; start += VERITY_BLOCK, at += DIGEST_BYTES)
      above.set(blockDigest(piece.subarray(start, start + VERITY_BLOCK)), at);
  return above;
}

/** The UUID is of the root, so that equal data give equal bytes; marked as RFC 9562 version 8. */
function superblock(dataBlocks: number, root: Uint8Array): Uint8Array {
  const block = Buffer.alloc(VERITY_BLOCK);
  const view = VeritySuperblock.view(block);
  view.signature = VERITY_SIGNATURE;
  view.version = VERITY_VERSION;
  view.hashType = HASH_TYPE_NORMAL;
  const uuid = createHash("sha256").update(root).digest().subarray(0, 16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x80;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  view.uuid = uuid;
  block.write(VERITY_ALGORITHM, VeritySuperblock.at.algorithm, "latin1");
  view.dataBlockSize = VERITY_BLOCK;
  view.hashBlockSize = VERITY_BLOCK;
  view.dataBlocks = dataBlocks;
  view.saltSize = VERITY_SALT.length;
  block.set(VERITY_SALT, VeritySuperblock.at.salt);
  return block;
}
