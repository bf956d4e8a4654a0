/** How much work a workload is. */
export interface Sizes {
  /** Folders of this project that are committed first, and then. */
  readonly gitFirst: readonly string[];
  readonly gitThen: readonly string[];
  /** Rows of a table. */
  readonly rows: number;
  /** Of zlib's examples, what is compiled. */
  readonly programs: readonly string[];
  /** Written and verified by each fio job, sequentially and at random. */
  readonly sequentialMib: number;
  readonly randomMib: number;
  /** Of the large files. */
  readonly largeBytes: number;
  /** How often a process is killed. */
  readonly kills: number;
}

/** What `npm run volumes` does. */
export const FULL: Sizes = {
  gitFirst: ["formats", "docs"],
  gitThen: ["builder"],
  rows: 8000,
  programs: ["example", "minigzip", "gun", "zpipe", "gzjoin"],
  sequentialMib: 16,
  randomMib: 4,
  largeBytes: 512 << 20,
  kills: 10,
};

/** The same for the tests: under emulation a program takes 25 ms to start. */
export const SHORT: Sizes = {
  gitFirst: ["docs"],
  gitThen: ["formats/tar"],
  rows: 700,
  programs: ["example", "minigzip"],
  sequentialMib: 4,
  randomMib: 1,
  largeBytes: 64 << 20,
  kills: 3,
};
