import { startErofsify } from "../../builder/testkit/index.ts";
import { type Disturbance, isDisturbed, type QuietOptions, whenQuiet } from "../kit/index.ts";
import type { Inputs } from "./inputs.ts";

/** One `erofsify run`, from the start of its process to the first output of the guest's command, in ms. */
export interface Start extends Disturbance {
  readonly totalMs: number;
  /** Ours, until QEMU is started: Node.js and the command's code, opening the image, initramfs. */
  readonly erofsifyMs: number;
  /** QEMU and its firmware. */
  readonly vmmMs: number;
  /** Until the guest's process 1 is our script. */
  readonly kernelMs: number;
  /** Ours: devices, EROFS, overlay. */
  readonly mountsMs: number;
  /** Ours and the image's: entering the root, and the command to its first output. */
  readonly commandMs: number;
  readonly disturbed: boolean;
}

/** What `--timings` tells behind its own share, in seconds. */
const TIMINGS = /QEMU \(\w+\) ([\d.]+) s, kernel ([\d.]+) s, mounts ([\d.]+) s, command ([\d.]+) s$/m;

/** Starts the tree's image, which is in the store already. */
export async function measureStart(
  inputs: Inputs,
  env: Readonly<Record<string, string>>,
  quiet: QuietOptions,
): Promise<Start> {
  const args = ["run", "--quiet", "--timings", "--store", inputs.storeRoot, inputs.treeImage, "--", "echo", "here"];
  const found = await whenQuiet(quiet, async () => {
    const startMs = performance.now();
    const { child, result } = startErofsify(args, { env });
    const output = new Promise<number>((resolve) =>
      child.stdout!.once("data", () => resolve(performance.now() - startMs)),
    );
    const { status, stdout, stderr } = await result;
    if (status !== 0 || stdout !== "here\n")
      throw new Error(`erofsify ${args.join(" ")}: status ${status}, ${stdout}${stderr}`);
    return { totalMs: await output, stderr };
  });
  const { totalMs, stderr, othersSeconds, stolenSeconds } = found;
  const parts = TIMINGS.exec(stderr)
    ?.slice(1)
    .map((seconds) => Number(seconds) * 1000);
  if (parts === undefined) throw new Error(`erofsify run told no timings: ${stderr}`);
  const [vmmMs, kernelMs, mountsMs, commandMs] = parts as [number, number, number, number];
  return {
    totalMs,
    // What the command says of itself begins when Node.js has loaded it.
    erofsifyMs: totalMs - vmmMs - kernelMs - mountsMs - commandMs,
    vmmMs,
    kernelMs,
    mountsMs,
    commandMs,
    othersSeconds,
    stolenSeconds,
    disturbed: isDisturbed(totalMs / 1000, found),
  };
}
