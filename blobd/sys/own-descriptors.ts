import { credentialCalls } from "./credentials.ts";
import { check } from "./errno.ts";
import { koffi } from "./koffi.ts";
import { libc, SYS } from "./libc.ts";

/** Linux include/uapi/linux/sched.h. */
const CLONE_FILES = 0x400;

/**
 * The calling thread gets a table of descriptors of its own, a copy: what is opened and closed from here on, by it or by the
 * others, is not seen by the other side. Nothing may be read by libuv's threads, which have the process's table: everything
 * is to be loaded before, and files are used by system calls only.
 */
export function ownDescriptors(): void {
  check(credentialCalls().unshare(CLONE_FILES), "unshare", "CLONE_FILES");
}

/** The process's own descriptors, for a thread that has others. */
export class ProcessDescriptors {
  readonly #pidFd = check(Number(libc().pidfdOpen(SYS.pidfdOpen, process.pid, 0)), "pidfd_open", String(process.pid));

  /** @returns a descriptor of this thread's for the same open file, or a negative error number */
  get(fd: number): number {
    const got = Number(libc().pidfdGetfd(SYS.pidfdGetfd, this.#pidFd, fd, 0));
    return got < 0 ? -koffi().errno() : got;
  }
}
