import {
  cloudHypervisorArgs,
  defaultCacheDir,
  firecrackerConfig,
  formatCommand,
  MAX_PMEM_DEVICES,
  planGuest,
  printedGuestFolder,
  qemuArgs,
  VMM_NAMES,
  type VmmName,
} from "../../vm/index.ts";
import { UsageError } from "../exit.ts";
import { writeOut } from "../ui/output.ts";
import { fitToDevices, openOrConvert } from "./acquire.ts";
import { type GuestCommandOptions, guestOptions } from "./run.ts";

export interface VmmArgsCommandOptions extends GuestCommandOptions {
  readonly vmm: string;
}

/** Prints what a VMM needs to be started by hand: its console is the terminal. */
export async function run(target: string, args: readonly string[], options: VmmArgsCommandOptions): Promise<void> {
  const vmm = parseVmm(options.vmm);
  const image = await fitToDevices(await openOrConvert(target, options), MAX_PMEM_DEVICES[vmm], vmm, options);
  try {
    const cacheDir = defaultCacheDir();
    const folder = printedGuestFolder(cacheDir, image.metaPath);
    const wishes = { ...guestOptions(args, options), vmm, attachment: { kind: "serial" } } as const;
    const plan = await planGuest(image, wishes, { folder, cacheDir });
    const machine = { ...plan, console: { kind: "serial" } } as const;
    const text = {
      qemu: () => formatCommand("qemu-system-x86_64", qemuArgs(machine, "kvm:tcg")),
      "cloud-hypervisor": () => formatCommand("cloud-hypervisor", cloudHypervisorArgs(machine)),
      firecracker: () => firecrackerConfig(machine),
    }[vmm];
    await writeOut(text());
  } finally {
    image.close();
  }
}

function parseVmm(name: string): VmmName {
  const vmm = VMM_NAMES.find((known) => known === name);
  if (vmm === undefined) throw new UsageError(`--vmm ${name}: expected ${VMM_NAMES.join(", ")}`);
  return vmm;
}
