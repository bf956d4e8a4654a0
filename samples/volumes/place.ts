import type { ShellGuest, Volume } from "../../builder/guestkit/index.ts";
import type { Sizes } from "./sizes.ts";

/** Where a workload runs: a guest that has a folder of the host as its volume. */
export interface Place {
  readonly guest: ShellGuest;
  readonly server: Volume;
  /** The volume in the guest. */
  readonly volume: string;
  /** The same folder on the host. */
  readonly folder: string;
  /** Whether the guest maps large files' data from the host's page cache. */
  readonly dax: boolean;
  /** Whether it does so from a file's first byte on, and not only when it meets a file that is large already. */
  readonly daxNew: boolean;
  readonly sizes: Sizes;
  /** fsload on the host; in the guest it is FSLOAD. */
  readonly fsloadPath: string;
  /** Starts the guest's kernel again, by the guest itself or by QEMU, and mounts the volume. */
  restart(how: "reboot" | "reset"): Promise<void>;
  /** Takes what was found besides, for people. */
  note(text: string): void;
}

export const FSLOAD = "/tmp/fsload";

/** Work that programs do on a volume; it throws when anything comes out otherwise than on the host's own file system. */
export interface Workload {
  readonly name: string;
  run(place: Place): Promise<void>;
}
