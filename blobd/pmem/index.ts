/**
 * Files of this host as one virtio-pmem device of a guest.
 *
 * ```
 *  guest ── /dev/pmem0: loads, page faults ──► VMM's memory ──► pages of a view, or of the file itself
 *  guest ── flush ──► queue.ts                answered at once                          one thread
 *  VMM ◄── SHMEM_MAP ── queue.ts              file by file, again after a reset
 *  who adds files ── control socket ──► server.ts ──► window.ts ──► contents.ts         memory that all threads share
 *                                         private-views.ts: FUSE, a page cache for this guest alone
 * ```
 */
export { imageLayout } from "./image-layout.ts";
export { qemuLines } from "./qemu-lines.ts";
export { type PmemOptions, PmemServer } from "./server.ts";
export { WindowError, type WindowFile } from "./window.ts";
