import { type Machine, type Spread, spread } from "../kit/index.ts";
import type { Case, Sample } from "./cases.ts";

/** What a run of the benchmark found. bench/results/containerd.json holds one. */
export interface Results {
  readonly benchmark: "containerd";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly image: { readonly layers: number; readonly compressedBytes: number };
  readonly cases: readonly CaseResult[];
}

export interface CaseResult {
  readonly name: string;
  readonly kind: Case["kind"];
  readonly pullSeconds: Spread;
  readonly pullCpuSeconds: Spread;
  readonly firstSeconds: Spread;
  readonly nextSeconds: Spread;
  readonly twentiethSeconds: Spread;
  readonly diskBytes: Spread;
  readonly samples: readonly Sample[];
}

export function caseResult({ name, kind }: Case, samples: readonly Sample[]): CaseResult {
  const of = (value: (sample: Sample) => number) =>
    spread(samples.map((sample) => Math.round(value(sample) * 1000) / 1000));
  return {
    name,
    kind,
    pullSeconds: of(({ pullSeconds }) => pullSeconds),
    pullCpuSeconds: of(({ pullCpuSeconds }) => pullCpuSeconds),
    firstSeconds: of(({ firstSeconds }) => firstSeconds),
    nextSeconds: of(({ nextSeconds }) => nextSeconds),
    twentiethSeconds: of(({ twentiethSeconds }) => twentiethSeconds),
    diskBytes: of(({ diskBytes }) => diskBytes),
    samples,
  };
}

/** Something that was wanted, and what was found: `value` is to be `limit` or less. */
export interface Target {
  readonly wanted: string;
  readonly value: number;
  readonly limit: number;
}

/** What the project wants, by medians, as parts of what overlayfs takes. */
export function targetsOf({ cases }: Pick<Results, "cases">): Target[] {
  const [ours, served] = cases.filter(({ kind }) => kind === "ours");
  const overlay = cases.find(({ name }) => name === "overlayfs");
  if (ours === undefined || served === undefined || overlay === undefined) return [];
  const part = (of: (one: CaseResult) => Spread, one = ours) => of(one).median / of(overlay).median;
  return [
    { wanted: "pull and unpack: at most half of overlayfs's time", value: part((c) => c.pullSeconds), limit: 0.5 },
    { wanted: "first container start: no slower", value: part((c) => c.firstSeconds), limit: 1.1 },
    { wanted: "further container starts: no slower", value: part((c) => c.nextSeconds), limit: 1.1 },
    { wanted: "20th container start: no slower", value: part((c) => c.twentiethSeconds), limit: 1.1 },
    {
      wanted: "on demand: a small part of the bytes at the first start",
      value: part((c) => c.diskBytes, served),
      limit: 0.2,
    },
    { wanted: "disk use: below overlayfs's", value: part((c) => c.diskBytes), limit: 1 },
  ];
}
