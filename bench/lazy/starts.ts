import { startErofsify } from "../../builder/testkit/index.ts";
import { type Disturbance, isDisturbed, type QuietOptions, whenQuiet } from "../kit/index.ts";
import type { Workload } from "./workloads.ts";

/** One guest, from the start of `erofsify run`, in ms. */
export interface Start extends Disturbance {
  readonly firstMs: number;
  /** The workload is done. */
  readonly doneMs: number;
  /** What was fetched of the image's blobs, its metadata included, as it came over the line. */
  readonly fetchedBytes: number;
  readonly fetchedChunks: number;
  readonly disturbed: boolean;
}

const FIRST = "started";
const LAST = "done";
const UNITS = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 } as const;

/** @param image what `erofsify run` is given, with its options before it */
export async function measureStart(
  image: readonly string[],
  { script }: Workload,
  env: Readonly<Record<string, string>>,
  quiet: QuietOptions,
): Promise<Start> {
  const command = ["sh", "-c", `echo ${FIRST}; ${script} && echo ${LAST}`];
  const args = ["run", "--quiet", "--timings", "--memory", "2GiB", ...image, "--", ...command];
  const found = await whenQuiet(quiet, async () => {
    const startMs = performance.now();
    const { child, result } = startErofsify(args, { env });
    const times = new Map<string, number>();
    let said = "";
    child.stdout!.on("data", (piece: Buffer) => {
      said += piece.toString();
      for (const mark of [FIRST, LAST])
        if (said.includes(`${mark}\n`) && !times.has(mark)) times.set(mark, performance.now() - startMs);
    });
    const { status, stdout, stderr } = await result;
    const [firstMs, doneMs] = [times.get(FIRST), times.get(LAST)];
    if (status !== 0 || firstMs === undefined || doneMs === undefined)
      throw new Error(`erofsify ${args.join(" ").slice(0, 300)}: status ${status}, ${stdout}${stderr}`);
    return { firstMs, doneMs, ...fetched(stderr) };
  });
  return { ...found, disturbed: isDisturbed(found.doneMs / 1000, found) };
}

/** What `--timings` tells of a lazy image. */
function fetched(stderr: string): Pick<Start, "fetchedBytes" | "fetchedChunks"> {
  const [, number, unit, chunks] = /fetched ([\d.]+) (B|kB|MB|GB) in (\d+) chunks/.exec(stderr) ?? [];
  if (number === undefined) return { fetchedBytes: 0, fetchedChunks: 0 };
  return { fetchedBytes: Number(number) * UNITS[unit as keyof typeof UNITS], fetchedChunks: Number(chunks) };
}
