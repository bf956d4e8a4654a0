import type { EntryType } from "./entry.ts";

export const TYPE_K = code("K");
export const TYPE_D = code("D");
export const TYPE_S = code("S");
export const TYPE_G = code("g");

/** What a typeflag is to the reader: an entry's type, or what the header is handled as. */
export type Kind = EntryType | "pax" | "long" | "skip";

const KINDS: readonly (Kind | undefined)[] = table([
  ["\0", "file"],
  ["0", "file"],
  ["1", "hardlink"],
  ["2", "symlink"],
  ["3", "char"],
  ["4", "block"],
  ["5", "directory"],
  ["6", "fifo"],
  ["7", "file"], // contiguous
  ["D", "directory"], // GNU incremental: its data, a list of names, is skipped
  ["K", "long"],
  ["L", "long"],
  ["S", "file"], // old GNU sparse
  ["V", "skip"], // GNU volume label
  ["X", "pax"], // Sun's x
  ["g", "pax"],
  ["x", "pax"],
]);

/** The kind of a typeflag; undefined for one that is no member of a tree (M, N, A, …) or unknown. */
export function kindOf(typeflag: number): Kind | undefined {
  return KINDS[typeflag];
}

function table(kinds: readonly (readonly [string, Kind])[]): (Kind | undefined)[] {
  const all = new Array<Kind | undefined>(256).fill(undefined);
  for (const [char, kind] of kinds) all[code(char)] = kind;
  return all;
}

function code(char: string): number {
  return char.charCodeAt(0);
}
