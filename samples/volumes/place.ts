import type { ShellGuest } from "../../builder/guestkit/index.ts";

/** Where a workload runs: a guest that has a folder of the host as its volume. */
export interface Place {
  readonly guest: ShellGuest;
  /** The volume in the guest. */
  readonly volume: string;
  /** The same folder on the host. */
  readonly folder: string;
  /** Whether the guest maps all files' data from the host's page cache. */
  readonly dax: boolean;
  /** How large the large files are, in bytes. */
  readonly largeBytes: number;
  /** fsload on the host; in the guest it is FSLOAD. */
  readonly fsloadPath: string;
  /** Takes what was found besides, for people. */
  note(text: string): void;
}

export const FSLOAD = "/tmp/fsload";

/** Work that programs do on a volume; it throws when anything comes out otherwise than on the host's own file system. */
export interface Workload {
  readonly name: string;
  run(place: Place): Promise<void>;
}
