import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BLOCK_SIZE, type Extent, HOLE, Inode, S_IFREG } from "../../formats/tree/index.ts";
import { hotPieces } from "./hot-pieces.ts";
import { MovedPieces, moveExtents } from "./moved-pieces.ts";

const BLOBS = 3;
const BLOB_BLOCKS = 4000;
const HOT = 99;

const extent: fc.Arbitrary<Extent> = fc
  .record({
    blob: fc.integer({ min: -1, max: BLOBS - 1 }),
    startBlock: fc.oneof(fc.integer({ min: 0, max: BLOB_BLOCKS - 1 }), fc.constantFrom(0, 512, 1024, 1536)),
    blocks: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constantFrom(512, 1024, 1400)),
  })
  .map(({ blob, startBlock, blocks }) =>
    blob === HOLE
      ? { blob, startBlock: 0, blocks }
      : { blob, startBlock, blocks: Math.min(blocks, BLOB_BLOCKS - startBlock) },
  );

function fileOf(extents: readonly Extent[]): Inode {
  const file = new Inode(S_IFREG | 0o644);
  file.extents = extents;
  file.size = extents.reduce((sum, { blocks }) => sum + blocks * BLOCK_SIZE, 0);
  return file;
}

/** Where each block of a file comes from, holes as "hole". */
function blocksOf(extents: readonly Extent[]): string[] {
  return extents.flatMap(({ blob, startBlock, blocks }) =>
    Array.from({ length: blocks }, (_, i) => (blob === HOLE ? "hole" : `${blob}:${startBlock + i}`)),
  );
}

test("whatever files share and whatever is wanted of them, each block is found where it has gone", () => {
  let moves = 0;
  const files = fc.array(fc.array(extent, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 });
  const ranges = fc.array(
    fc.record({
      blob: fc.integer({ min: 0, max: BLOBS - 1 }),
      offset: fc.integer({ min: 0, max: BLOB_BLOCKS * BLOCK_SIZE }),
      bytes: fc.integer({ min: 1, max: 100 * BLOCK_SIZE }),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(files, ranges, (extents, wanted) => {
      const inodes = extents.map(fileOf);
      const pieces = hotPieces(inodes, wanted);
      const moved = new MovedPieces();
      const hot: string[] = [];
      for (const piece of pieces) {
        moved.add(piece, hot.length);
        hot.push(...blocksOf([piece]));
      }
      moved.sort();
      assert.equal(new Set(hot).size, hot.length, "no block is moved twice");
      moves += hot.length;
      for (const { extents: before } of inodes) {
        const after = moveExtents(before, moved, HOT);
        const found = blocksOf(after).map((from) => (from.startsWith(`${HOT}:`) ? hot[Number(from.slice(3))] : from));
        assert.deepEqual(found, blocksOf(before));
      }
    }),
    { numRuns: 300, seed: 20261127 },
  );
  assert.ok(moves > 1000, `${moves} blocks were moved`);
});

test("a range takes small files as a whole and large ones by 2 MiB, once", () => {
  const small = fileOf([{ blob: 0, startBlock: 3, blocks: 5 }]);
  const large = fileOf([{ blob: 0, startBlock: 512, blocks: 1300 }]);
  const at = (block: number, bytes: number) => ({ blob: 0, offset: block * BLOCK_SIZE, bytes });
  const pieces = hotPieces([small, large], [at(1100, 1), at(7, 5000), at(4, 1), at(1030, 9999), at(1800, 1)]);
  assert.deepEqual(
    pieces.map(({ startBlock, blocks }) => [startBlock, blocks]),
    [
      [1024, 512],
      [3, 5],
      [1536, 276],
    ],
  );
  assert.deepEqual(hotPieces([small], [at(8, 4096), { blob: 2, offset: 0, bytes: 1 }]), []);
});
