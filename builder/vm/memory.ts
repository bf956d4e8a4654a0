import { VmError } from "./errors.ts";
import type { PmemDevice } from "./vmm/index.ts";

/** What a distribution's kernel and the initramfs take before the image is mounted, in bytes. Measured: docs/running.md. */
const KERNEL_BYTES = 128 << 20;
/** The guest's kernel keeps 64 bytes for every 4 KiB of pmem. Linux Documentation/mm/vmemmap_dedup.rst. */
const PAGE_RECORD_FRACTION = 64 / 4096;
const DEFAULT_BYTES = 1 << 30;
const MIB = 1 << 20;

/** The least memory a guest with these devices can start with, in bytes. */
export function leastMemory(pmem: readonly PmemDevice[]): number {
  const total = pmem.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return Math.ceil((KERNEL_BYTES + total * PAGE_RECORD_FRACTION) / MIB) * MIB;
}

/**
 * The guest's memory, in bytes: what was asked for, else 1 GiB, more for very large images.
 * @throws VmError ERR_MEMORY
 */
export function guestMemory(asked: number | undefined, pmem: readonly PmemDevice[]): number {
  const least = leastMemory(pmem);
  if (asked === undefined) return Math.max(DEFAULT_BYTES, 2 * least);
  if (asked >= least) return asked;
  const mib = (bytes: number) => `${Math.floor(bytes / MIB)} MiB`;
  throw new VmError(
    "ERR_MEMORY",
    `${mib(asked)} of memory are too little: kernel and image need ${mib(least)} before the command starts`,
  );
}
