import type { Server } from "../../builder/testkit/index.ts";
import type { Requirement } from "../../builder/vm/index.ts";

export const CASE_IDS = ["pmem", "virtiofs", "blk", "tmpfs"] as const;
export type CaseId = (typeof CASE_IDS)[number];

/** A way for a guest to get at the tree. */
export interface Case {
  /** A CaseId in this benchmark. */
  readonly id: string;
  readonly name: string;
  readonly kind: "ours" | "peer" | "limit";
  /** The guest's root. */
  readonly image: string;
  /** QEMU's options. */
  readonly devices: readonly string[];
  readonly needs: readonly Requirement[];
  /** Commands in the guest that make the tree visible. */
  readonly prepare: readonly string[];
  /** The tree's parent folder in the guest. */
  readonly folder: string;
  /** Only this folder of the tree is read. */
  readonly part?: string;
  /** Files and folders of the host that hold the data. */
  readonly hostPaths: readonly string[];
  /** Starts what the guest needs of the host; the process beside QEMU that serves it. */
  readonly serve?: () => Promise<Server>;
}
