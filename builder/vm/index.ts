/**
 * Guests: a converted image as the root of a microVM.
 *
 *     image (meta, blobs) ─► planGuest: checks, kernel, initramfs ─► Machine ─► qemuArgs, cloudHypervisorArgs, …
 *                                                                       └─────► GuestSession: QEMU in operation
 *
 * - kernel/  which kernel the guest boots, what it must be able to do, its modules
 * - guest/   what runs inside: /init, supervise.sh, and the program that becomes the image's command
 * - vmm/     one description of a machine, and each VMM's command line for it
 * - run/     QEMU as a child process, its channels, its timeline
 */
export { defaultCacheDir, makeGuestFolder, printedGuestFolder, printedGuestPath } from "./cache.ts";
export { VmError, type VmErrorCode } from "./errors.ts";
export { PMEM_UNIT_BYTES, type Verification } from "./image-parts.ts";
export { imagePlaces } from "./image-places.ts";
export type { Requirement } from "./kernel/index.ts";
export { leastMemory } from "./memory.ts";
export { type Attachment, type GuestOptions, type GuestPlaces, type MachinePlan, planGuest } from "./plan.ts";
export { findAccelerator, type GuestIo, type GuestOutcome, GuestSession, Timeline } from "./run/index.ts";
export {
  type Accelerator,
  cloudHypervisorArgs,
  findQemu,
  firecrackerConfig,
  formatCommand,
  guestMemoryOptions,
  MAX_PMEM_DEVICES,
  type Machine,
  qemuArgs,
  quote,
  VMM_NAMES,
  type VmmName,
} from "./vmm/index.ts";
