import { closeSync, constants, fstatSync, openSync } from "node:fs";
import type { GuestFile } from "../queue/index.ts";

/** A file of the host that the guest has as memory, and where. */
export interface GuestMemoryFile {
  /** First byte as the guest sees it. */
  readonly guestAddress: number;
  readonly path: string;
}

/** Files at most: as many virtio-pmem devices as a guest is given. */
const MAX_GUEST_FILES = 128;
/** virtio-pmem devices lie at multiples of this, and are such multiples, in bytes. */
const UNIT_BYTES = 2 << 20;
/** Addresses of guests have 52 bits at most. */
const MAX_ADDRESS = 2 ** 52;

/** @throws RangeError for addresses where no device can be */
export function checkGuestMemory(files: readonly GuestMemoryFile[]): void {
  if (files.length > MAX_GUEST_FILES)
    throw new RangeError(`guest memory: found ${files.length} files, expected at most ${MAX_GUEST_FILES}`);
  for (const { guestAddress, path } of files)
    if (!(guestAddress > 0 && guestAddress < MAX_ADDRESS && guestAddress % UNIT_BYTES === 0))
      throw new RangeError(
        `guest memory ${hex(guestAddress)}=${path}: expected a multiple of 2 MiB below ${hex(MAX_ADDRESS)}`,
      );
}

/**
 * Opens the files, which whoever gets them keeps: their names may go, as QEMU does not need them either.
 * @throws RangeError for a file that is no such device, or overlaps another; Error when one cannot be opened
 */
export function openGuestFiles(files: readonly GuestMemoryFile[]): GuestFile[] {
  const opened: GuestFile[] = [];
  try {
    let end = 0;
    for (const { guestAddress, path } of [...files].sort((a, b) => a.guestAddress - b.guestAddress)) {
      // Not waiting, should it be a fifo.
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const stat = fstatSync(fd);
      opened.push({ guestAddress, bytes: stat.size, fd });
      const name = `guest memory ${hex(guestAddress)}=${path}`;
      if (!stat.isFile()) throw new RangeError(`${name}: is no regular file`);
      if (stat.size === 0 || stat.size % UNIT_BYTES !== 0)
        throw new RangeError(
          `${name}: has ${stat.size} bytes, expected a multiple of 2 MiB, as virtio-pmem devices are`,
        );
      if (guestAddress < end) throw new RangeError(`${name}: the file before it reaches to ${hex(end)}`);
      end = guestAddress + stat.size;
    }
    return opened;
  } catch (error) {
    closeGuestFiles(opened);
    throw error;
  }
}

export function closeGuestFiles(files: readonly GuestFile[]): void {
  for (const { fd } of files) closeSync(fd);
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
