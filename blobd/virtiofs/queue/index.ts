/** FUSE over a virtqueue: from chains to requests, and from replies to chains. */
export { FsQueue, type FsQueueOptions, NotingMapper } from "./fs-queue.ts";
export type { WindowMemory } from "./guest-memory.ts";
export { type GuestFile, ReadOnlyMemory } from "./read-only-memory.ts";
export { MAX_DATA_BYTES, Transport } from "./transport.ts";
