import { type Extent, HOLE } from "../../formats/tree/index.ts";
import type { Piece } from "./hot-pieces.ts";

/** Extents of one file with what has been moved in its new place. */
export function moveExtents(extents: readonly Extent[], moved: MovedPieces, hotBlob: number): Extent[] {
  const result: Extent[] = [];
  for (const extent of extents) {
    if (extent.blob === HOLE) {
      result.push(extent);
      continue;
    }
    let at = extent.startBlock;
    const end = extent.startBlock + extent.blocks;
    while (at < end) {
      const { to, stop } = moved.at(extent.blob, at, end);
      const next = to === undefined ? { blob: extent.blob, startBlock: at } : { blob: hotBlob, startBlock: to };
      const last = result.at(-1);
      if (last !== undefined && last.blob === next.blob && last.startBlock + last.blocks === next.startBlock)
        result[result.length - 1] = { ...last, blocks: last.blocks + stop - at };
      else result.push({ ...next, blocks: stop - at });
      at = stop;
    }
  }
  return result;
}

/** Where pieces have gone. */
export class MovedPieces {
  readonly #byBlob = new Map<number, { startBlock: number; blocks: number; to: number }[]>();

  /** @param to the first block in the new blob */
  add({ blob, startBlock, blocks }: Piece, to: number): void {
    const known = this.#byBlob.get(blob) ?? [];
    this.#byBlob.set(blob, known);
    known.push({ startBlock, blocks, to });
  }

  /** To be called when all are there. */
  sort(): void {
    for (const list of this.#byBlob.values()) list.sort((a, b) => a.startBlock - b.startBlock);
  }

  /** Where a block has gone (undefined: nowhere), and how far that holds, at most to `end`. */
  at(blob: number, block: number, end: number): { to: number | undefined; stop: number } {
    const list = this.#byBlob.get(blob) ?? [];
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { startBlock, blocks } = list[middle]!;
      if (startBlock + blocks > block) high = middle;
      else low = middle + 1;
    }
    const next = list[low];
    if (next === undefined || next.startBlock >= end) return { to: undefined, stop: end };
    if (next.startBlock > block) return { to: undefined, stop: next.startBlock };
    return { to: next.to + block - next.startBlock, stop: Math.min(end, next.startBlock + next.blocks) };
  }
}
