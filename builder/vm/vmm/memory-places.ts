/**
 * Where a QEMU guest sees the image's files: fixed, so that whoever serves the guest another device can be told.
 *
 * ```
 *  0        below 4 GiB: memory, up to 2 GiB of it when it has 2.75 GiB or more; devices
 *  4 GiB    the rest of the memory
 *  base     memory devices, from the next GiB on: pmem 0, pmem 1, …                      (q35: pc_memory_init)
 * ```
 */
import { roundUp } from "../../../formats/bytes/index.ts";
import { type Machine, memoryMib, type PmemDevice } from "./machine.ts";

const MIB = 1 << 20;
const GIB = 1 << 30;
/** A q35 machine with less memory than this has all of it below 4 GiB. QEMU, hw/i386/pc_q35.c. */
const LOW_LIMIT = 2.75 * GIB;
/** One with more has so much there. */
const LOW_BYTES = 2 * GIB;
const HIGH_START = 4 * GIB;
/** QEMU places memory devices at multiples of this, in bytes: their `memory_region_get_alignment`. */
const ALIGNMENT = 2 * MIB;

/** A file that a guest has as memory, and at which of the guest's addresses. */
export interface PlacedFile {
  readonly path: string;
  readonly guestAddress: number;
}

/** Bytes of guest addresses that the devices take. */
export function placesBytes(pmem: readonly PmemDevice[]): number {
  return pmem.reduce((sum, { sizeBytes }) => sum + roundUp(sizeBytes, ALIGNMENT), 0);
}

/** Where the image's files are in a QEMU guest's memory, one behind the other. */
export function pmemPlaces(machine: Pick<Machine, "memoryBytes" | "pmem">): PlacedFile[] {
  const memory = memoryMib(machine) * MIB;
  let next = roundUp(HIGH_START + (memory >= LOW_LIMIT ? memory - LOW_BYTES : 0), GIB);
  return machine.pmem.map(({ path, sizeBytes }) => {
    const guestAddress = next;
    next += roundUp(sizeBytes, ALIGNMENT);
    return { path, guestAddress };
  });
}

/** Options of `blobd virtiofs` that tell it of this memory, which QEMU does not. */
export function guestMemoryOptions(places: readonly PlacedFile[]): string[] {
  return places.flatMap(({ path, guestAddress }) => ["--guest-memory", `0x${guestAddress.toString(16)}=${path}`]);
}
