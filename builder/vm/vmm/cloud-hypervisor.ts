/** Cloud Hypervisor's command line for a guest. */
import { KERNEL_ARGUMENTS, type Machine, memoryMib } from "./machine.ts";

/**
 * Arguments of cloud-hypervisor, with the same devices in the same order as QEMU's; its one console is the serial port on
 * the terminal. `discard_writes=on` opens an image file read-only and maps it privately: guests share its pages in the
 * host's page cache, what a guest writes stays its own and is lost. Cloud Hypervisor docs/device_model.md; `--pmem` of its
 * `--help`.
 */
export function cloudHypervisorArgs(machine: Machine): string[] {
  const { pmem, scratchPath } = machine;
  return [
    ...["--kernel", machine.kernelPath, "--initramfs", machine.initrdPath],
    ...["--cmdline", ["console=ttyS0", ...KERNEL_ARGUMENTS].join(" ")],
    ...["--cpus", `boot=${machine.cpus}`, "--memory", `size=${memoryMib(machine)}M`],
    ...["--serial", "tty", "--console", "off"],
    ...(scratchPath === undefined ? [] : ["--disk", `path=${quote(scratchPath)},image_type=raw`]),
    "--pmem",
    ...pmem.map(({ path, sizeBytes }) => `file=${quote(path)},size=${sizeBytes},discard_writes=on`),
  ];
}

/** A value with commas is put in double quotes. */
function quote(path: string): string {
  return path.includes(",") ? `"${path}"` : path;
}
