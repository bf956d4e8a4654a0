import { mkdirSync } from "node:fs";
import type { OpenedImage } from "../../open/index.ts";
import {
  cloudHypervisorArgs,
  defaultCacheDir,
  firecrackerConfig,
  formatCommand,
  guestMemoryOptions,
  imagePlaces,
  MAX_PMEM_DEVICES,
  planGuest,
  printedGuestFolder,
  printedGuestPath,
  qemuArgs,
  quote,
  VMM_NAMES,
  type VmmName,
} from "../../vm/index.ts";
import { UsageError } from "../exit.ts";
import { writeOut } from "../ui/output.ts";
import { fitToDevices, openOrConvert } from "./acquire.ts";
import { type GuestCommandOptions, guestOptions } from "./run.ts";

export interface VmmArgsCommandOptions extends GuestCommandOptions {
  readonly vmm: string;
  readonly guestMemory?: boolean;
}

/** Prints what a VMM needs to be started by hand: its console is the terminal. */
export async function run(target: string, args: readonly string[], options: VmmArgsCommandOptions): Promise<void> {
  const vmm = parseVmm(options.vmm);
  if (options.guestMemory && vmm !== "qemu")
    throw new UsageError(`--guest-memory: where ${vmm} places an image's files is not known, only QEMU is told`);
  const image = await fitToDevices(await openOrConvert(target, options), MAX_PMEM_DEVICES[vmm], vmm, options);
  try {
    const cacheDir = defaultCacheDir();
    if (options.guestMemory) {
      await writeOut(await volumeOptions(image, printedGuestPath(cacheDir, image.metaPath), options));
      return;
    }
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

/** For `blobd virtiofs`, an option a line. @param folder where a command printed before has its files, which stay */
async function volumeOptions(image: OpenedImage, folder: string, options: GuestCommandOptions): Promise<string> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { memoryBytes } = guestOptions([], options);
  const words = guestMemoryOptions(await imagePlaces(image, memoryBytes, folder)).map(quote);
  return `${words.join(" ").replaceAll(" --", "\n--")}\n`;
}

function parseVmm(name: string): VmmName {
  const vmm = VMM_NAMES.find((known) => known === name);
  if (vmm === undefined) throw new UsageError(`--vmm ${name}: expected ${VMM_NAMES.join(", ")}`);
  return vmm;
}
