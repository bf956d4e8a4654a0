/** What the guest's kernel must be able to do, and whether it can. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { VmError } from "../errors.ts";
import type { GuestKernel } from "./find.ts";
import { type ModulePlan, planModules } from "./modules.ts";

/** An option of the kernel that a guest cannot do without. */
export interface Requirement {
  /** Name of the option, without CONFIG_. */
  readonly option: string;
  /** Its module, when it can be one. */
  readonly module?: string;
  readonly why: string;
}

const ALWAYS: readonly Requirement[] = [
  { option: "BLK_DEV_INITRD", why: "the guest starts from an initramfs" },
  { option: "DEVTMPFS", why: "device nodes" },
  { option: "TMPFS", why: "what the guest writes" },
  { option: "CGROUPS", why: "the command's processes are ended together" },
  { option: "VIRTIO_PMEM", module: "virtio_pmem", why: "the image as memory of the host" },
  { option: "BLK_DEV_PMEM", module: "nd_pmem", why: "the image as memory of the host" },
  { option: "ND_CLAIM", why: "the image as memory of the host" },
  { option: "FS_DAX", why: "file data is mapped, not copied" },
  { option: "EROFS_FS", module: "erofs", why: "the image" },
];

const OVERLAY: Requirement = { option: "OVERLAY_FS", module: "overlay", why: "writes on top of the image" };

const TRANSPORT: Readonly<Record<Needs["transport"], Requirement>> = {
  pci: { option: "VIRTIO_PCI", module: "virtio_pci", why: "the guest's devices" },
  mmio: { option: "VIRTIO_MMIO", module: "virtio_mmio", why: "the guest's devices" },
};

const CHANNELS: Requirement = {
  option: "VIRTIO_CONSOLE",
  module: "virtio_console",
  why: "the command's input, output and exit status",
};

const SCRATCH: readonly Requirement[] = [
  { option: "VIRTIO_BLK", module: "virtio_blk", why: "--rw-size" },
  { option: "EXT4_FS", module: "ext4", why: "--rw-size" },
];

const VERITY: readonly Requirement[] = [
  { option: "BLK_DEV_DM", module: "dm_mod", why: "--verity" },
  { option: "DM_VERITY", module: "dm_verity", why: "--verity" },
];

/** What a run needs beyond what all need. */
export interface Needs {
  /** How the VMM attaches devices. */
  readonly transport: "pci" | "mmio";
  /** A console and ports by virtio. */
  readonly channels: boolean;
  /** Writes on top of the image. */
  readonly overlay: boolean;
  /** A scratch disk for writes. */
  readonly scratch: boolean;
  /** The image's blocks checked when they are read. */
  readonly verity?: boolean;
  /** What devices that the guest has besides want. */
  readonly also?: readonly Requirement[];
}

/**
 * The modules to load for a guest, after a check that the kernel has all that is needed.
 * @throws VmError ERR_KERNEL_OPTION naming what is missing.
 */
export function requireKernel(kernel: GuestKernel, needs: Needs): readonly string[] {
  const wanted = [
    TRANSPORT[needs.transport],
    ...ALWAYS,
    ...(needs.overlay ? [OVERLAY] : []),
    ...(needs.channels ? [CHANNELS] : []),
    ...(needs.scratch ? SCRATCH : []),
    ...(needs.verity ? VERITY : []),
    ...(needs.also ?? []),
  ];
  const names = wanted.flatMap(({ module }) => (module === undefined ? [] : [module]));
  const plan = planOf(kernel, names);
  const config = kernel.configPath === undefined ? undefined : readFileSync(kernel.configPath, "utf8");
  const missing = wanted.filter((requirement) => isMissing(requirement, plan, config));
  if (missing.length === 0) return plan?.files ?? [];
  const reasons = missing.map(({ option, module, why }) => {
    const inConfig = config !== undefined && setting(config, option) !== undefined;
    return `CONFIG_${option} (${why}${inConfig ? `; its module ${module} is not in ${kernel.modulesDir ?? "a modules folder"}` : ""})`;
  });
  throw new VmError(
    "ERR_KERNEL_OPTION",
    `kernel ${kernel.version} (${kernel.imagePath}) cannot run the image: it lacks ${reasons.join(", ")}`,
  );
}

/** Whether a requirement is known not to be met: by the configuration, and by the modules that are there. */
function isMissing({ option, module }: Requirement, plan: ModulePlan | undefined, config: string | undefined): boolean {
  const value = config === undefined ? undefined : setting(config, option);
  if (config !== undefined && value === undefined) return true;
  if (module === undefined || value === "y") return false;
  return plan === undefined ? config !== undefined : plan.missing.includes(module);
}

/** `y` or `m`; undefined when the option is off. */
function setting(config: string, option: string): string | undefined {
  return new RegExp(`^CONFIG_${option}=([ym])$`, "m").exec(config)?.[1];
}

function planOf({ modulesDir }: GuestKernel, names: readonly string[]): ModulePlan | undefined {
  if (modulesDir === undefined) return undefined;
  const read = (name: string) => {
    const path = join(modulesDir, name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  return planModules(
    { dep: read("modules.dep"), builtin: read("modules.builtin"), softdep: read("modules.softdep") },
    names,
  );
}
