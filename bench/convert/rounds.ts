import { run } from "../../builder/testkit/index.ts";
import { type Cost, calibrate, type Disturbance, isDisturbed, type QuietOptions, whenQuiet } from "../kit/index.ts";
import type { Case, Group } from "./case.ts";

/** One measurement. */
export interface Sample extends Cost, Disturbance {
  /** From 1. */
  readonly round: number;
  /** Measurements thrown away before it because others used the machine. */
  readonly discarded: number;
  /** Whether this one was disturbed too. */
  readonly disturbed: boolean;
}

/** How often a disturbed measurement is made again before the least disturbed one counts. */
const RETRIES = 3;
/** One that takes longer, in seconds, is not made again: the next would hardly be left alone for as long either. */
const RETRY_SECONDS = 15;

export interface RoundOptions {
  readonly rounds: number;
  readonly quiet: QuietOptions;
  /** Told about each measurement. */
  readonly onSample: (group: Group, one: Case, sample: Sample) => void;
}

/** All measurements: by case, in the order of the rounds; and the calibration at the start of each round, in ms. */
export interface Measurements {
  readonly samples: ReadonlyMap<Case, readonly Sample[]>;
  readonly calibrationMs: readonly number[];
}

/** Measures all cases in turn, round after round. */
export async function measureRounds(groups: readonly Group[], options: RoundOptions): Promise<Measurements> {
  const samples = new Map<Case, Sample[]>();
  const calibrationMs: number[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const calibration = await whenQuiet(options.quiet, async () => ({ ms: calibrate() }));
    calibrationMs.push(calibration.ms);
    for (const group of groups)
      for (const one of group.cases) {
        if (one.once && round > 1) continue;
        const sample = await measureQuietly(one, round, options);
        samples.set(one, [...(samples.get(one) ?? []), sample]);
        options.onSample(group, one, sample);
      }
  }
  return { samples, calibrationMs };
}

async function measureQuietly(one: Case, round: number, options: RoundOptions): Promise<Sample> {
  let best: Sample | undefined;
  for (let discarded = 0; discarded <= RETRIES; discarded++) {
    const { stdout: _, ...cost } = await measureOnce(one, options.quiet);
    const sample = { ...cost, round, discarded, disturbed: isDisturbed(cost.wallSeconds, cost) };
    if (best === undefined || foreign(sample) < foreign(best)) best = sample;
    else best = { ...best, discarded };
    if (!sample.disturbed || sample.wallSeconds > RETRY_SECONDS) break;
  }
  return best!;
}

async function measureOnce(one: Case, quiet: QuietOptions) {
  await one.setUp?.();
  try {
    return await whenQuiet(quiet, () => one.measure());
  } finally {
    await one.tearDown?.();
    // What it left to be written must not be written while the next one is measured.
    await run("sync", []);
  }
}

function foreign({ othersSeconds, stolenSeconds }: Disturbance): number {
  return othersSeconds + stolenSeconds;
}
