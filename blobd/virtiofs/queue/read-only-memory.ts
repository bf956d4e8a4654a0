import { readFully } from "../../sys/index.ts";

/** A file that the guest has as memory, open for reading. Guest address and size in bytes. */
export interface GuestFile {
  readonly guestAddress: number;
  readonly bytes: number;
  readonly fd: number;
}

const EFAULT = 14;

/**
 * Memory of the guest that is known to be files of the host, which the front-end shows to nobody: images as virtio-pmem
 * devices. It is only ever read, and by pread(2): a mapping would end the process by SIGBUS when a page of the file cannot
 * be had, for example of one that is still being fetched.
 */
export class ReadOnlyMemory {
  readonly #files: readonly GuestFile[];

  /** @param files none overlaps another */
  constructor(files: readonly GuestFile[]) {
    this.#files = files;
  }

  /** Whether there is a file at an address. */
  has(guestAddress: number): boolean {
    return this.#find(guestAddress) !== undefined;
  }

  /** Copies `bytes` bytes at `guestAddress`, which may go on in the next file, to `address`. @returns 0 or -EFAULT */
  read(guestAddress: number, bytes: number, address: number): number {
    for (let done = 0; done < bytes; ) {
      const file = this.#find(guestAddress + done);
      if (file === undefined) return -EFAULT;
      const at = guestAddress + done - file.guestAddress;
      const length = Math.min(bytes - done, file.bytes - at);
      // A file that has become shorter has nothing there.
      if (readFully(file.fd, address + done, length, at) < length) return -EFAULT;
      done += length;
    }
    return 0;
  }

  #find(guestAddress: number): GuestFile | undefined {
    for (const file of this.#files)
      if (guestAddress >= file.guestAddress && guestAddress < file.guestAddress + file.bytes) return file;
    return undefined;
  }
}
