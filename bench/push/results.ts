import type { Machine } from "../kit/index.ts";
import type { JobsResult } from "./jobs.ts";
import type { Form, ImageResult } from "./throughput.ts";
import type { TreeResult } from "./trees.ts";
import type { VersionResult } from "./versions.ts";

/** What a run of the benchmark found. bench/results/push.json holds one. Parts that were not measured are absent. */
export interface Results {
  readonly benchmark: "push";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly images: readonly ImageResult[];
  readonly versions?: readonly VersionResult[];
  readonly jobs?: JobsResult;
  readonly trees?: TreeResult;
}

/** @throws Error when there is none */
export function formOf({ forms }: ImageResult, name: string): Form {
  const found = forms.find((form) => form.name === name);
  if (found === undefined) throw new Error(`no results of "${name}"`);
  return found;
}
