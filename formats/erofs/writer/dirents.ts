import { BLOCK_SIZE } from "../../tree/index.ts";
import { Dirent, ISLOT_SIZE } from "../format.ts";
import { putBytes } from "./bytes.ts";
import type { Item } from "./plan.ts";

/**
 * Directories on disk: blocks of entries, each block its own small table. The entries' fixed parts come first, their
 * names follow in the same order; a name ends where the next begins, the last at a NUL or at the block's end. A block
 * takes as many entries as fit. All but the last block count whole, the last with what is used of it.
 */

/** i_size of a directory. */
export function directorySize(dir: Item): number {
  let full = 0;
  let used = 0;
  for (const name of dir.names) {
    const bytes = Dirent.size + name.length;
    if (used + bytes > BLOCK_SIZE) {
      full += BLOCK_SIZE;
      used = 0;
    }
    used += bytes;
  }
  return full + used;
}

/**
 * Writes a directory: its whole blocks one after the other at `blocksAt`, the last at `tailAt` when it is inlined.
 * @param tailAt -1 when nothing is inlined
 * @param metaStart byte that NIDs count from
 */
export function writeDirectory(
  meta: Buffer,
  dv: DataView,
  dir: Item,
  blocksAt: number,
  tailAt: number,
  metaStart: number,
): void {
  const count = dir.names.length;
  let at = blocksAt;
  for (let first = 0; first < count; at += BLOCK_SIZE) {
    const end = blockEnd(dir, first);
    writeBlock(meta, dv, dir, first, end, end === count && tailAt >= 0 ? tailAt : at, metaStart);
    first = end;
  }
}

/** One past the last entry of the block that starts with entry `first`. */
function blockEnd(dir: Item, first: number): number {
  let used = 0;
  let i = first;
  for (; i < dir.names.length; i++) {
    used += Dirent.size + dir.names[i]!.length;
    if (used > BLOCK_SIZE) break;
  }
  return i;
}

function writeBlock(
  meta: Buffer,
  dv: DataView,
  dir: Item,
  first: number,
  end: number,
  at: number,
  metaStart: number,
): void {
  let nameOff = (end - first) * Dirent.size;
  let entry = at;
  for (let i = first; i < end; i++, entry += Dirent.size) {
    const name = dir.names[i]!;
    const target = dir.targets[i]!;
    dv.setUint32(entry + Dirent.at.nid, (target.offset - metaStart) / ISLOT_SIZE, true);
    dv.setUint16(entry + Dirent.at.nameOff, nameOff, true);
    dv.setUint8(entry + Dirent.at.fileType, target.fileType);
    putBytes(meta, name, at + nameOff);
    nameOff += name.length;
  }
}
