/** Firecracker's configuration for a guest. */
import { KERNEL_ARGUMENTS, type Machine, memoryMib } from "./machine.ts";

/**
 * The configuration file for `firecracker --no-api --config-file`, as JSON; virtio-pmem is there from Firecracker 1.14 on.
 * The kernel must be an uncompressed ELF image (vmlinux). `reboot=k`: Firecracker ends when the guest resets through the
 * keyboard controller, it knows no ACPI power off. Firecracker docs/pmem.md, docs/getting-started.md.
 */
export function firecrackerConfig(machine: Machine): string {
  const config = {
    "boot-source": {
      kernel_image_path: machine.kernelPath,
      initrd_path: machine.initrdPath,
      boot_args: ["console=ttyS0", "reboot=k", ...KERNEL_ARGUMENTS].join(" "),
    },
    "machine-config": { vcpu_count: machine.cpus, mem_size_mib: memoryMib(machine) },
    drives:
      machine.scratchPath === undefined
        ? []
        : [{ drive_id: "scratch", path_on_host: machine.scratchPath, is_root_device: false, is_read_only: false }],
    pmem: machine.pmem.map(({ path }, index) => ({
      id: `pmem${index}`,
      path_on_host: path,
      root_device: false,
      read_only: true,
    })),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
