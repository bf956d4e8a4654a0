import { type Machine, type Spread, spread } from "../kit/index.ts";
import type { HostResults } from "./host.ts";
import type { LinkOptions } from "./link.ts";
import type { Start } from "./starts.ts";
import type { Workload, WorkloadId } from "./workloads.ts";

/**
 * How a guest gets its image: all of it is there; what it reads is fetched; the same, and a list ahead; the same of an image that
 * `erofsify optimize` has laid out by the list.
 */
export const MODES = ["warm", "lazy", "listed", "optimized"] as const;
export type Mode = (typeof MODES)[number];

export interface WorkloadResult extends Pick<Workload, "id" | "name"> {
  /** What its list has, in bytes of content. */
  readonly listedBytes: number;
  readonly starts: Readonly<Record<Mode, readonly Start[]>>;
}

/** What a run of the benchmark found. bench/results/lazy.json holds one. */
export interface Results {
  readonly benchmark: "lazy";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly link: LinkOptions;
  /** Of all blobs: as files, in the registry, and as layers of tar.gz there. */
  readonly contentBytes: number;
  readonly storedBytes: number;
  readonly tarBytes: number;
  /** The image fetched as tar.gz and converted. */
  readonly convertSeconds: readonly number[];
  readonly workloads: readonly WorkloadResult[];
  readonly host?: HostResults;
}

export function workloadOf({ workloads }: Pick<Results, "workloads">, id: WorkloadId): WorkloadResult | undefined {
  return workloads.find((one) => one.id === id);
}

/** A figure of a workload's guests. */
export function over({ starts }: WorkloadResult, mode: Mode, value: (start: Start) => number): Spread {
  return spread(starts[mode].map(value));
}

/** How long what was fetched takes on the link by itself, in ms. */
export function transferMs({ link }: Pick<Results, "link">, bytes: number): number {
  return (bytes / link.bytesPerSecond) * 1000;
}

/** A share of some values, 0 to 1. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
