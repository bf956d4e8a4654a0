/**
 * A directory as a virtio-fs device for a VMM, with a DAX window.
 *
 * ```
 *  guest ── virtqueues ──► queue/      requests from chains, replies into them       one thread per queue
 *                            │ FuseRequest
 *                            ▼
 *                          fuse/       FuseServer, passthroughfs
 *                            │ DaxWindow
 *                            ▼
 *  VMM ◄── SHMEM_MAP ───── window/     which file is mapped where                    memory that all threads share
 *  VMM ◄── vhost-user ───► vhost/      VhostBackend: the control plane               main thread
 *
 *  device/      what the device is, what its threads share
 *  supervise/   the threads in a process of their own, which another one can take over from
 * ```
 */
export {
  checkOptions,
  DEFAULT_WINDOW_BYTES,
  type GuestMemoryFile,
  MAX_QUEUES,
  type VirtiofsOptions,
} from "./device/index.ts";
export { qemuLines } from "./qemu-lines.ts";
export { type ServerOptions, VirtiofsServer } from "./server.ts";
