import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Machine } from "../kit/index.ts";
import type { JobsResult } from "./jobs.ts";
import type { Form, ImageResult } from "./throughput.ts";
import type { TreeResult } from "./trees.ts";
import type { VersionResult } from "./versions.ts";

/** What was found. bench/results/push.json holds one. Parts that were not measured are absent. */
export interface Results {
  readonly benchmark: "push";
  readonly machine: Machine;
  /** When each part was measured, ISO 8601. */
  readonly dates: Readonly<Record<string, string>>;
  readonly images?: readonly ImageResult[];
  readonly versions?: readonly VersionResult[];
  readonly jobs?: JobsResult;
  readonly trees?: TreeResult;
}

const SAVED = fileURLToPath(new URL("../../../bench/results/push.json", import.meta.url));

/** A run that has found nothing yet, with what earlier ones that were saved have found. */
export function withSaved(results: Results): Results {
  if (!existsSync(SAVED)) return results;
  const saved = JSON.parse(readFileSync(SAVED, "utf8")) as Results;
  return { ...saved, ...results, dates: saved.dates };
}

/** @throws Error when there is none */
export function formOf({ forms }: ImageResult, name: string): Form {
  const found = forms.find((form) => form.name === name);
  if (found === undefined) throw new Error(`no results of "${name}"`);
  return found;
}
