/**
 * A vhost-user back-end: a device outside of the VMM, on a Unix socket.
 *
 * ```
 *  VMM ──socket── VhostBackend        control plane, main thread: messages, memory table, reset, reconnection
 *   │                  │ DataPlane    plain descriptions and descriptors
 *   │                  ▼
 *   │             LocalDataPlane      maps guest memory; one thread per virtqueue:
 *   └──eventfds,──── runQueueWorker   pop → QueueHandler.handle → push → notify
 *      rings, back-end channel
 * ```
 * A device is a DeviceDescription and a module that ends in `runQueueWorker((worker) => handler)`; served by
 * `new VhostBackend(device, new LocalDataPlane(device), { log })`, its `listen(path)` or `connect(path)`, and `close()`.
 */
export { Chain, MAX_SEGMENTS, PLACE, Segments } from "./chain.ts";
export {
  type ChannelDescription,
  type DataPlane,
  type DataPlaneEvents,
  type MemoryRegion,
  type QueueStart,
  RESUME,
  type WindowDialect,
  type WindowPlace,
} from "./data-plane.ts";
export type { DeviceDescription, WorkerProgram } from "./device.ts";
export { LocalDataPlane } from "./local-data-plane.ts";
export {
  type HandlerFactory,
  PARKED,
  PUT_BACK,
  type QueueHandler,
  type QueueWorker,
  type Remapper,
  type ShmemMapper,
} from "./queue-handler.ts";
export { REHEARSAL_SLOTS, type RehearsalDriver, rehearseQueue } from "./rehearsal.ts";
export { runQueueWorker } from "./run-queue-worker.ts";
export { type BackendOptions, VhostBackend } from "./vhost-backend.ts";
export { WINDOW_STATE_BYTES } from "./window-state.ts";
