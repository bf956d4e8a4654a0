import { DM_CONTROL, verityDevice } from "../../../formats/device-mapper/index.ts";
import { type Failure, RESULT, X86_64_CALLS as SYS, SyscallProgram } from "../../../formats/elf/index.ts";
import type { VerityRoot } from "../../../formats/verity/index.ts";
import { cString } from "./linux.ts";

const O_RDWR_CLOEXEC = 0o2000002;

/**
 * The program that lays dm-verity over the image's devices: /dev/part0, /dev/part1… (links that supervise.sh makes) become
 * /dev/dm-0, /dev/dm-1…, whose every block the kernel checks. What fails is told on descriptor 2.
 * @param roots of the devices, metadata first
 */
export function verityProgram(roots: readonly VerityRoot[]): Buffer {
  const program = new SyscallProgram();
  for (const [index, root] of roots.entries()) {
    const failed = (what: string): Failure[] => [{ message: `dm-verity over part ${index}: ${what}\n`, status: 1 }];
    const [create, load, resume] = verityDevice(`part${index}`, `/dev/part${index}`, root, index);
    for (const [request, what] of [
      [create, "the device cannot be created"],
      [load, "its table is refused"],
      [resume, "the device does not start"],
    ] as const)
      program
        .call(SYS.open, [cString(DM_CONTROL), O_RDWR_CLOEXEC, 0], failed("the kernel has no device mapper"))
        .call(SYS.ioctl, [RESULT, request.command, { inout: request.bytes }], failed(what));
  }
  return program.exit(0).build();
}
