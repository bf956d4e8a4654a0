/**
 * dm-verity on disk: a tree of digests behind the data that it vouches for. Linux
 * Documentation/admin-guide/device-mapper/verity.rst; the superblock is cryptsetup's (lib/verity/verity.c).
 *
 *     | data: dataBlocks × 4 KiB | superblock | level n: one block | … | level 0: a digest a data block |
 *                                ^ hash offset ^ what the kernel calls hash_start_block
 *
 * A digest is sha256(salt ‖ block). A block of the tree holds 128 digests of the level below, the rest of the last one
 * is zeros. The root is the digest of the only block of the top level; of data of a single block it is that block's.
 */
import { struct } from "../bytes/index.ts";

/** Of data and of the tree, in bytes. */
export const VERITY_BLOCK = 4096;
export const DIGEST_BYTES = 32;
export const DIGESTS_PER_BLOCK = VERITY_BLOCK / DIGEST_BYTES;

/**
 * The salt of every tree here: as long as veritysetup's and always the same, so that equal data have equal roots. A salt
 * that is not known beforehand would only make it dearer to look for two blocks of one digest, which nobody finds in
 * sha256. It costs nothing: with it or without, a block is 65 rounds.
 */
export const VERITY_SALT = new Uint8Array(32);

/** `struct verity_sb`, at the hash offset. */
export const VeritySuperblock = struct("verity_sb", 512, {
  signature: "bytes8",
  version: "u32",
  hashType: "u32",
  uuid: "bytes16",
  algorithm: "bytes32",
  dataBlockSize: "u32",
  hashBlockSize: "u32",
  dataBlocks: "u53",
  saltSize: "u16",
  pad1: "bytes6",
  salt: "bytes256",
  pad2: "bytes168",
});

export const VERITY_SIGNATURE = new TextEncoder().encode("verity\0\0");
export const VERITY_VERSION = 1;
/** The salt comes before the block. */
export const HASH_TYPE_NORMAL = 1;
export const VERITY_ALGORITHM = "sha256";

/** Data with a tree behind them: where they end, and the digest to which a reader holds them. */
export interface VerityRoot {
  /** Blocks of 4 KiB before the superblock. */
  readonly dataBlocks: number;
  /** 64 hex digits. */
  readonly rootHex: string;
}

/** Where the tree begins, in bytes: behind the data and the superblock. */
export function treeOffset({ dataBlocks }: VerityRoot): number {
  return (dataBlocks + 1) * VERITY_BLOCK;
}
