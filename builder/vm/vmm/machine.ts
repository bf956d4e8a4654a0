/** A guest as any VMM can make it: what it boots, what it has, where its console goes. */

/** A file that is the guest's memory, read-only: the host's page cache is all there is of it. */
export interface PmemDevice {
  readonly path: string;
  /** A multiple of 2 MiB, as virtio-pmem wants it. */
  readonly sizeBytes: number;
}

/**
 * Where the guest's console and its command's input and output go.
 * - `serial`: one console on the VMM's own standard input and output; for commands that are printed.
 * - `channels`: descriptors that the VMM inherits, a connected socket each.
 */
export type Console = { readonly kind: "serial" } | ({ readonly kind: "channels" } & Channels);

export interface Channels {
  /** The kernel's messages. */
  readonly log: number;
  /** What supervise.sh and the host tell each other. */
  readonly control: number;
  /** A terminal for the command, or pipes; without `input` its standard input is empty. */
  readonly command:
    | { readonly kind: "tty"; readonly tty: number }
    | { readonly kind: "pipes"; readonly output: number; readonly errors: number; readonly input?: number };
}

export interface Machine {
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly kernelPath: string;
  readonly initrdPath: string;
  /** The image: metadata first, then blobs in the order of its device table. */
  readonly pmem: readonly PmemDevice[];
  /** A file that becomes a disk for what the guest writes. */
  readonly scratchPath?: string;
  readonly console: Console;
}

export type VmmName = "qemu" | "cloud-hypervisor" | "firecracker";

export const VMM_NAMES: readonly VmmName[] = ["qemu", "cloud-hypervisor", "firecracker"];

/**
 * Most pmem devices that a guest gets; an image with more parts becomes one flat file. QEMU guests were
 * started with 200, each costs some start time, so that beyond this a flat file starts sooner. The others' figures are
 * from their device models: 32 slots on Cloud Hypervisor's first PCI segment, 19 interrupt lines for Firecracker's MMIO
 * devices, less what else needs one.
 */
export const MAX_PMEM_DEVICES: Readonly<Record<VmmName, number>> = {
  qemu: 128,
  "cloud-hypervisor": 24,
  firecracker: 16,
};

/** What every guest's kernel is told: few messages, and an end instead of a standstill when something is wrong. */
export const KERNEL_ARGUMENTS: readonly string[] = ["quiet", "panic=-1", "random.trust_cpu=on"];

const MIB = 1 << 20;

/** Memory in MiB, rounded up: the unit of every VMM. */
export function memoryMib(machine: Pick<Machine, "memoryBytes">): number {
  return Math.ceil(machine.memoryBytes / MIB);
}
