import { type Disturbance, type Machine, type Spread, spread } from "../kit/index.ts";
import type { Case, Group } from "./case.ts";
import type { Comparison } from "./equality.ts";
import type { Measurements, Sample } from "./rounds.ts";

/** What a run of the benchmark found. bench/results/convert.json holds one. */
export interface Results {
  readonly benchmark: "convert";
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly noise: Noise;
  readonly groups: readonly GroupResult[];
  readonly comparisons: readonly Comparison[];
}

export interface GroupResult {
  readonly id: string;
  readonly title: string;
  readonly cases: readonly CaseResult[];
}

export interface CaseResult {
  readonly name: string;
  readonly kind: Case["kind"];
  readonly wallSeconds: Spread;
  /** User and system time. */
  readonly cpuSeconds: Spread;
  readonly peakBytes: Spread;
  readonly samples: readonly Sample[];
}

/** How quiet the machine was. */
export interface Noise extends Disturbance {
  /** The same piece of work at the start of each round, in ms. */
  readonly calibrationMs: Spread;
  readonly samples: number;
  /** Samples that count though others were at work. */
  readonly disturbed: number;
  /** Samples thrown away and made again. */
  readonly discarded: number;
}

export function collectResults(
  groups: readonly Group[],
  { samples, calibrationMs }: Measurements,
): Pick<Results, "groups" | "noise"> {
  const all = [...samples.values()].flat();
  const sum = (value: (sample: Sample) => number) => round(all.reduce((total, sample) => total + value(sample), 0));
  return {
    groups: groups.map(({ id, title, cases }) => ({
      id,
      title,
      cases: cases.map((one) => caseResult(one, samples.get(one)!)),
    })),
    noise: {
      calibrationMs: spread(calibrationMs.map(round)),
      samples: all.length,
      disturbed: sum(({ disturbed }) => Number(disturbed)),
      discarded: sum(({ discarded }) => discarded),
      othersSeconds: sum(({ othersSeconds }) => othersSeconds),
      stolenSeconds: sum(({ stolenSeconds }) => stolenSeconds),
    },
  };
}

function caseResult({ name, kind }: Case, samples: readonly Sample[]): CaseResult {
  const of = (value: (sample: Sample) => number) => spread(samples.map((sample) => round(value(sample))));
  return {
    name,
    kind,
    wallSeconds: of(({ wallSeconds }) => wallSeconds),
    cpuSeconds: of(({ userSeconds, systemSeconds }) => userSeconds + systemSeconds),
    peakBytes: of(({ peakBytes }) => peakBytes),
    samples,
  };
}

/** To a thousandth: what is smaller is noise. */
function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** The case of a group by name. @throws Error when there is none */
export function caseOf(results: Pick<Results, "groups">, group: string, name: string): CaseResult {
  const found = results.groups.find(({ id }) => id === group)?.cases.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no results of "${name}" in group ${group}`);
  return found;
}
