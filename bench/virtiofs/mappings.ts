/** What a mapping of 2 MiB into the DAX window costs, by how many are there. */
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CASES } from "./case.ts";
import type { Inputs } from "./inputs.ts";
import { withGuest } from "./readings.ts";
import { VOLUME } from "./rows.ts";

export const LIVE_MAPPINGS = [50, 250, 700] as const;
/** So many mappings around each of these are averaged. */
const AROUND = 20;
const RANGE_BYTES = 2 << 20;
const RANGES = 760;
/** Room for all ranges. */
const WINDOW = "--dax-window=2G";

export interface MappingCost {
  /** Mappings that are there. */
  readonly live: number;
  /** From the access in the guest to the byte, in ms: the middle of some mappings. */
  readonly milliseconds: number;
}

/** A guest reads a byte of each range of a large file. */
export async function measureMappings(inputs: Inputs, work: string, env: NodeJS.ProcessEnv): Promise<MappingCost[]> {
  const dax = CASES.find(({ id }) => id === "blobd-dax")!;
  const serverOptions = dax.volume!.serverOptions.map((option) =>
    option.startsWith("--dax-window=") ? WINDOW : option,
  );
  const path = join(inputs.folder, "scratch/ranges");
  await writeFile(path, "");
  await truncate(path, RANGES * RANGE_BYTES);
  return withGuest({ ...dax, volume: { ...dax.volume!, serverOptions } }, inputs, work, env, async ({ guest }) => {
    const nanoseconds = (await guest.shell(`fsload ranges ${VOLUME}/scratch/ranges`)).trim().split(" ").map(Number);
    if (nanoseconds.length !== RANGES) throw new Error(`fsload ranges told ${nanoseconds.length} times`);
    return LIVE_MAPPINGS.map((live) => {
      const near = nanoseconds.slice(live - AROUND, live + AROUND).sort((a, b) => a - b);
      return { live, milliseconds: near[near.length >> 1]! / 1e6 };
    });
  });
}
