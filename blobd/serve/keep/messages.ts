import type { Attached, SessionTerms } from "../../fuse/device/index.ts";

/** What a keeper and the process that serves say to each other. */

/** Where a serving process finds the descriptors that are held for it. */
export const MOUNT_FD = 3;
export const TABLE_FD = 4;

/** To a serving process, at its start. */
export interface Held {
  readonly attached: Attached;
  readonly terms: SessionTerms | null;
  readonly origins: readonly (readonly [key: string, origin: string])[];
}

/** From a serving process: what its successor has to know. */
export type Noted =
  | { readonly terms: SessionTerms }
  | { readonly shown: readonly [key: string, origin: string] }
  | { readonly gone: string };
