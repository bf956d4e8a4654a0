/** What the guest does with the volume, a row of the table each. */

export const ROW_IDS = [
  ...["stat", "open", "list", "randread", "randwrite", "read", "write"],
  ...["reread", "mapread", "maprand", "remapread", "mapwrite", "untar", "remove"],
] as const;
export type RowId = (typeof ROW_IDS)[number];

export interface Row {
  readonly id: RowId;
  readonly name: string;
  /** How its time is shown: of one operation, or as data in a second. */
  readonly unit: "µs" | "MiB/s";
  /** Arguments of fsload, in the guest. */
  readonly args: string;
  /** With DAX it is wanted this much faster than virtiofsd; without, and elsewhere, no slower. */
  readonly daxFactor?: number;
  /** Nothing is forgotten before: what the row before it has read is read once more. */
  readonly isAgain?: boolean;
  /** What it makes, which is removed before it. */
  readonly makes?: string;
}

export const SMALL_FILES = 10_000;
export const SMALL_BYTES = 4096;
const MIB = 1 << 20;
export const LARGE_BYTES = 512 * MIB;
export const TREE_FOLDERS = 60;
export const TREE_FILES = 2000;
/** Where guests have the volume, and the tar that they unpack to it. */
export const VOLUME = "/volume";
export const TAR = "/tmp/tree.tar";
/** A folder of its own for each case. */
export const scratchOf = (id: string) => `scratch-${id}`;
const SCRATCH = `${VOLUME}/SCRATCH`;
const SMALL = `${VOLUME}/small`;
const LARGE = `${VOLUME}/large`;

/** In this order: `remove` removes what `untar` has unpacked. */
export const ROWS: readonly Row[] = [
  { id: "stat", name: "stat, 5,000 files", unit: "µs", args: `stat ${SMALL} 5000` },
  { id: "open", name: "open, read 4 KiB, close", unit: "µs", args: `open ${SMALL} 3000` },
  { id: "list", name: "readdir, 10,000 entries, 20 times", unit: "µs", args: `list ${SMALL} 20` },
  { id: "randread", name: "read 4 KiB, random", unit: "µs", args: `randread ${LARGE} 3000` },
  { id: "randwrite", name: "write 4 KiB, random", unit: "µs", args: `randwrite ${LARGE} 3000` },
  { id: "read", name: "read 1 MiB, sequential", unit: "MiB/s", args: `read ${LARGE}`, daxFactor: 3 },
  {
    ...{ id: "reread", name: "read 1 MiB, a second time", unit: "MiB/s", args: `read ${LARGE}` },
    ...{ daxFactor: 3, isAgain: true },
  },
  {
    id: "write",
    name: "write 1 MiB, sequential",
    unit: "MiB/s",
    args: `fill ${SCRATCH}/fill ${256 * MIB}`,
    makes: "fill",
  },
  { id: "mapread", name: "mmap, read sequentially", unit: "MiB/s", args: `mapread ${LARGE}`, daxFactor: 3 },
  {
    ...{ id: "remapread", name: "mmap, read a second time", unit: "MiB/s", args: `mapread ${LARGE}` },
    ...{ daxFactor: 3, isAgain: true },
  },
  { id: "maprand", name: "mmap, read 8 bytes, random", unit: "µs", args: `maprand ${LARGE} 5000`, daxFactor: 3 },
  {
    id: "mapwrite",
    name: "mmap, write, new file",
    unit: "MiB/s",
    args: `mapwrite ${SCRATCH}/map ${64 * MIB}`,
    makes: "map",
  },
  { id: "untar", name: "unpack a tar, 2,000 files", unit: "µs", args: `untar ${TAR} ${SCRATCH}`, makes: "tree" },
  { id: "remove", name: "remove that tree", unit: "µs", args: `remove ${SCRATCH}/tree` },
];

/** Rows that make sense for a file system that holds nothing but the large file. */
export const LARGE_ROWS: readonly RowId[] = ["randread", "read", "reread", "mapread", "remapread", "maprand"];

/** Rows, with those behind them that go on where they end. */
export function rowGroups(rows: readonly Row[]): Row[][] {
  const groups: Row[][] = [];
  for (const row of rows)
    if (row.isAgain === true) groups.at(-1)?.push(row);
    else groups.push([row]);
  return groups;
}

/** What fsload is told in a case's guest. */
export function argsOf({ args }: Row, id: string): string {
  return args.replaceAll("SCRATCH", scratchOf(id));
}

export const rowOf = (id: RowId): Row => ROWS.find((row) => row.id === id)!;
