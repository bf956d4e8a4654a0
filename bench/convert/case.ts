import type { TreeDescription } from "../../builder/testkit/index.ts";
import type { Run } from "../kit/index.ts";

/** One way to do the work of its group, measured once a round. */
export interface Case {
  readonly name: string;
  readonly kind: "ours" | "peer" | "limit";
  /** It takes long and is only there for orientation: one measurement. */
  readonly once?: true;
  /** What belongs before a measurement and not into it. */
  setUp?(): Promise<void>;
  /** Does the work in a process of its own. */
  measure(): Promise<Run>;
  /** Describes the tree that the work gave, before `tearDown`. */
  describe?(): Promise<TreeDescription>;
  /** Removes what the work gave. */
  tearDown?(): Promise<void>;
}

/** Cases that do the same work and are measured in turn: A B C, A B C … */
export interface Group {
  readonly id: string;
  readonly title: string;
  readonly cases: readonly Case[];
  /** Name of the case whose tree the others' trees are held against. */
  readonly reference?: string;
}
