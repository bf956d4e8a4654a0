/** Memory of the server for a million inodes that the kernel knows. */

export interface InodeMemory {
  readonly inodes: number;
  /** Private memory of the server before and after, in bytes. */
  readonly anonymousBefore: number;
  readonly anonymousAfter: number;
  /** Its shared tables, in bytes. */
  readonly sharedBefore: number;
  readonly sharedAfter: number;
}
