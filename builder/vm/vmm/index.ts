/** VMMs: one description of a guest, and the command line of each for it. */
export { cloudHypervisorArgs } from "./cloud-hypervisor.ts";
export { findQemu } from "./find-qemu.ts";
export { firecrackerConfig } from "./firecracker.ts";
export {
  type Channels,
  type Console,
  MAX_PMEM_DEVICES,
  type Machine,
  type PmemDevice,
  VMM_NAMES,
  type VmmName,
} from "./machine.ts";
export { guestMemoryOptions, type PlacedFile, pmemPlaces } from "./memory-places.ts";
export { type Accelerator, qemuArgs } from "./qemu.ts";
export { formatCommand, quote } from "./shell.ts";
