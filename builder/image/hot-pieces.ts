/** Which parts of an image's blobs a start wants, and where they go when they are laid one behind the other. */
import type { PrefetchRange } from "../../formats/oci/index.ts";
import { BLOCK_SIZE, HOLE, type Inode } from "../../formats/tree/index.ts";
import { HUGE_PAGE } from "../layer/index.ts";

const HUGE_BLOCKS = HUGE_PAGE / BLOCK_SIZE;
/** Blocks of one blob are below this: addresses on disk have 32 bits. */
const MAX_BLOCKS = 2 ** 32;

/** A run of a blob's blocks that is moved. */
export interface Piece {
  readonly blob: number;
  readonly startBlock: number;
  readonly blocks: number;
  /** Of a large file: it stays on a huge page. */
  readonly isLarge: boolean;
}

/** An extent of some file, with what of it may be moved at once. */
interface Held {
  readonly startBlock: number;
  readonly blocks: number;
  readonly isLarge: boolean;
}

/**
 * The pieces that hold the ranges, in their order, each once: small files as a whole, large ones (2 MiB and more) by 2 MiB, so
 * that they still map by huge pages.
 *
 * @param ranges of the blobs of `files`' extents, by the same numbers
 */
export function hotPieces(files: readonly Inode[], ranges: readonly PrefetchRange[]): Piece[] {
  const held = heldExtents(files);
  const pieces: Piece[] = [];
  const taken = new Set<number>();
  for (const { blob, offset, bytes } of ranges) {
    const extents = held.get(blob) ?? [];
    const [first, end] = [Math.floor(offset / BLOCK_SIZE), Math.ceil((offset + bytes) / BLOCK_SIZE)];
    for (let at = firstBehind(extents, first); at < extents.length && extents[at]!.startBlock < end; at++)
      for (const piece of piecesOf(blob, extents[at]!, first, end)) {
        if (takeBlocks(taken, piece)) pieces.push(piece);
      }
  }
  return pieces;
}

/** Whether none of a piece's blocks was taken before; then they are now. */
function takeBlocks(taken: Set<number>, { blob, startBlock, blocks }: Piece): boolean {
  const first = blob * MAX_BLOCKS + startBlock;
  for (let block = first; block < first + blocks; block++) if (taken.has(block)) return false;
  for (let block = first; block < first + blocks; block++) taken.add(block);
  return true;
}

function* piecesOf(blob: number, { startBlock, blocks, isLarge }: Held, first: number, end: number): Generator<Piece> {
  if (!isLarge) {
    yield { blob, startBlock, blocks, isLarge };
    return;
  }
  const stop = Math.min(end, startBlock + blocks);
  let at = Math.max(first, startBlock);
  at -= at % HUGE_BLOCKS;
  for (; at < stop; at += HUGE_BLOCKS) {
    const from = Math.max(at, startBlock);
    yield { blob, startBlock: from, blocks: Math.min(at + HUGE_BLOCKS, startBlock + blocks) - from, isLarge };
  }
}

/** By blob, in the order of their blocks; what several files share once. */
function heldExtents(files: readonly Inode[]): Map<number, Held[]> {
  const byBlob = new Map<number, Map<number, Held>>();
  for (const { size, extents } of files)
    for (const { blob, startBlock, blocks } of extents) {
      if (blob === HOLE) continue;
      const known = byBlob.get(blob) ?? new Map<number, Held>();
      byBlob.set(blob, known);
      const before = known.get(startBlock);
      if (before === undefined || before.blocks < blocks)
        known.set(startBlock, { startBlock, blocks, isLarge: size >= HUGE_PAGE });
    }
  const sorted = [...byBlob].map(([blob, extents]) => {
    const list = [...extents.values()].sort((a, b) => a.startBlock - b.startBlock);
    return [blob, list] as const;
  });
  return new Map(sorted);
}

/** The first extent that ends behind `block`. */
function firstBehind(extents: readonly Held[], block: number): number {
  let [low, high] = [0, extents.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const { startBlock, blocks } = extents[middle]!;
    if (startBlock + blocks > block) high = middle;
    else low = middle + 1;
  }
  return low;
}
