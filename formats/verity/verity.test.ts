import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VeritySuperblock } from "./format.ts";
import { blockDigest, DIGESTS_PER_BLOCK, treeOffset, VERITY_BLOCK, verityTail } from "./index.ts";

/** Block `i` is this number, 1024 times. */
function dataOf(blocks: number): Buffer {
  const data = Buffer.alloc(blocks * VERITY_BLOCK);
  for (let i = 0; i < blocks; i++) {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(Math.imul(i, 2654435761) >>> 0);
    data.fill(word, i * VERITY_BLOCK, (i + 1) * VERITY_BLOCK);
  }
  return data;
}

/** The digests of data's blocks, in pieces of `pieceBlocks` blocks of the tree. */
function leavesOf(data: Buffer, pieceBlocks: number): Uint8Array[] {
  const blocks = data.length / VERITY_BLOCK;
  const pieces: Uint8Array[] = [];
  for (let first = 0; first < blocks; first += pieceBlocks * DIGESTS_PER_BLOCK) {
    const count = Math.min(blocks - first, pieceBlocks * DIGESTS_PER_BLOCK);
    const piece = Buffer.alloc(Math.ceil(count / DIGESTS_PER_BLOCK) * VERITY_BLOCK);
    for (let i = 0; i < count; i++)
      piece.set(blockDigest(data.subarray((first + i) * VERITY_BLOCK, (first + i + 1) * VERITY_BLOCK)), i * 32);
    pieces.push(piece);
  }
  return pieces;
}

/** Reads block `block` as drivers/md/dm-verity-target.c does: from the root down to the data. */
function isVerified(file: Buffer, dataBlocks: number, rootHex: string, block: number): boolean {
  let levels = 0;
  while (7 * levels < 64 && (dataBlocks - 1) / 2 ** (7 * levels) >= 1) levels++;
  const starts: number[] = [];
  let position = dataBlocks + 1;
  for (let level = levels - 1; level >= 0; level--) {
    starts[level] = position;
    position += Math.ceil(dataBlocks / 2 ** (7 * (level + 1)));
  }
  assert.equal(file.length, position * VERITY_BLOCK, "the tree is as long as the kernel takes it to be");
  const at = (index: number) => file.subarray(index * VERITY_BLOCK, (index + 1) * VERITY_BLOCK);
  let wanted: Buffer = Buffer.from(rootHex, "hex");
  for (let level = levels - 1; level >= 0; level--) {
    const hashBlock = at(starts[level]! + Math.floor(block / 2 ** (7 * (level + 1))));
    if (!blockDigest(hashBlock).equals(wanted)) return false;
    const slot = Math.floor(block / 2 ** (7 * level)) % DIGESTS_PER_BLOCK;
    wanted = hashBlock.subarray(slot * 32, slot * 32 + 32);
  }
  return blockDigest(at(block)).equals(wanted);
}

// Root hashes as `veritysetup format --salt 00…` of cryptsetup 2.6.1 gives them: one block, one and two levels, three.
for (const [blocks, rootHex] of [
  [1, "2e534ef0107d592d1706ac38ad58596b85ef3375d360a6d669f974792df5cb5a"],
  [2, "80ca706775c46c3828276e249516147df54c53b80346e82e3962f05237155e47"],
  [128, "fb2f78eec0a077f98c79452d32021e089827648e21aed639f02df250768a006a"],
  [129, "43ea8b5edb2f9b3e9e428b25bd2c3df6416b25fd12957878b02ad7f7e0519bc9"],
  [16385, "1944f940b52a6717a0a447ec609f69b9095d91293f048d939e708acdc696baaa"],
] as const)
  test(`the root of ${blocks} blocks is the one of veritysetup`, () => {
    assert.equal(verityTail(leavesOf(dataOf(blocks), 4), blocks).rootHex, rootHex);
  });

test("every block is verified through the tree, and no flipped bit is", () => {
  const check = (blocks: number, pieceBlocks: number, where: number, bit: number) => {
    const data = dataOf(blocks);
    const { rootHex, pieces } = verityTail(leavesOf(data, pieceBlocks), blocks);
    const file = Buffer.concat([data, ...pieces]);
    const block = Math.floor(where * blocks);
    assert.ok(isVerified(file, blocks, rootHex, block));
    file[block * VERITY_BLOCK + (bit >> 3)]! ^= 1 << (bit & 7);
    assert.ok(!isVerified(file, blocks, rootHex, block), "a bit of the data");
    file[block * VERITY_BLOCK + (bit >> 3)]! ^= 1 << (bit & 7);
    if (blocks === 1) return;
    // The first block of the tree is its top: every path leads through it.
    file[treeOffset({ dataBlocks: blocks, rootHex }) + (bit >> 3)]! ^= 1 << (bit & 7);
    assert.ok(!isVerified(file, blocks, rootHex, block), "a bit of the tree");
  };
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 600 }),
      fc.integer({ min: 1, max: 5 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      fc.integer({ min: 0, max: VERITY_BLOCK * 8 - 1 }),
      check,
    ),
    { numRuns: 60 },
  );
  check(16_400, 4, 0.9999, 7);
});

test("the number of digests must be that of the blocks", () => {
  const leaves = leavesOf(dataOf(129), 4);
  assert.throws(() => verityTail(leaves, 128), RangeError);
  assert.throws(() => verityTail(leaves, 257), RangeError);
  assert.throws(() => verityTail([], 0), RangeError);
});

// Offsets typed a second time on purpose, from cryptsetup's lib/verity/verity.c.
for (const [field, offset] of [
  ["version", 8],
  ["hashType", 12],
  ["uuid", 16],
  ["algorithm", 32],
  ["dataBlockSize", 64],
  ["hashBlockSize", 68],
  ["dataBlocks", 72],
  ["saltSize", 80],
  ["salt", 88],
] as const)
  test(`verity_sb.${field} lies at byte ${offset}`, () => assert.equal(VeritySuperblock.at[field], offset));
