import { run } from "../../builder/testkit/index.ts";
import { type Command, type Disturbance, isDisturbed, measure, type QuietOptions, whenQuiet } from "../kit/index.ts";

/** One measured run of a command. */
export interface Sample {
  readonly wallSeconds: number;
  /** User and system time. */
  readonly cpuSeconds: number;
  /** Whether others took too much of the machine meanwhile. */
  readonly disturbed: boolean;
  readonly stdout: string;
}

/** Runs a command when the machine is quiet; what it leaves to be written is written before the next one. */
export async function sample(command: Command, work: string, quiet: QuietOptions): Promise<Sample> {
  const cost = await whenQuiet(quiet, () => measure(command, work));
  await run("sync", []);
  return {
    wallSeconds: cost.wallSeconds,
    cpuSeconds: cost.userSeconds + cost.systemSeconds,
    disturbed: isDisturbed(cost.wallSeconds, cost),
    stdout: cost.stdout,
  };
}

/** The time of some work in this process or in others. */
export async function timed<T>(
  quiet: QuietOptions,
  work: () => Promise<T>,
): Promise<{ result: T; seconds: number; disturbed: boolean }> {
  const done = await whenQuiet(quiet, async () => {
    const startMs = performance.now();
    const result = await work();
    return { result, seconds: (performance.now() - startMs) / 1000 };
  });
  return { result: done.result, seconds: done.seconds, disturbed: isDisturbed(done.seconds, done as Disturbance) };
}
