import type { Chain } from "./chain.ts";

/** `QueueHandler.handle`: the request is completed later. */
export const PARKED = -1;
/**
 * `QueueHandler.handle`: the request was not carried out, because a queue is being stopped, this one or another of the
 * device's (a ShmemMapper answered -EINTR). It is put back and comes again, when this queue is started again if it stops.
 */
export const PUT_BACK = -2;

/** Serves one virtqueue: a device's part of a queue worker. Called on the worker's thread only. */
export interface QueueHandler {
  /**
   * Carries out a request.
   * @returns bytes written to the start of `chain.writable`, PARKED or PUT_BACK.
   * @throws any error for a request that the guest must not make: the queue is broken then, and the connection ends.
   */
  handle(chain: Chain): number;
  /**
   * Called when the queue is empty, and when the time that it asked for has come: looks after parked requests.
   * @returns in how many ms it wants to be called again, -1 for not before the queue is empty the next time
   */
  idle?(): number;
  /**
   * No queue was served yet, nor is to be now, so there is time to get ready for one.
   * @param isAsked whether there is something else to do: to be looked at often
   */
  prepare?(isAsked: () => boolean): void;
  /**
   * The queue is being stopped, perhaps to be started again, perhaps not. Parked requests come again with `isRepeated`
   * (if at all), and must be forgotten by the handler.
   */
  stopped?(): void;
  /** The device was reset. */
  reset?(): void;
  /** The worker ends. */
  close?(): void;
}

/** What a handler has of its worker. */
export interface QueueWorker {
  /** The queue's index. */
  readonly queue: number;
  /** `WorkerProgram.data`. */
  readonly data: unknown;
  /** Puts files into the window. Answers -ENODEV when the front-end has no window. */
  readonly mapper: Remapper;
  /** Reads a parked request from the ring again. The chain is the one that `handle` gets: see there. */
  reopen(head: number): Chain;
  /** Completes a parked request, `bytes` of which were written. */
  complete(head: number, bytes: number): void;
  /** Calls `ready` on this thread whenever `fd` can be read, between requests; null ends it. */
  watch(fd: number, ready: (() => void) | null): void;
}

export type HandlerFactory = (worker: QueueWorker) => QueueHandler;

/**
 * The device's window (shared-memory region 0). Any worker may call: they take turns.
 *
 * Results are 0 or a negative error number: -EINTR when a queue is being stopped (answer PUT_BACK), -ENODEV when there is
 * no window or the front-end is gone, -EINVAL for what is not page-aligned or outside, -EIO when the front-end refused.
 * Whether a call that answered -EINTR was carried out is found out by the next call, which is made anew in any case.
 *
 * A front-end drops all mappings when the guest resets the device, and does not tell: at the start of each of the guest's
 * sessions (FUSE_INIT) what was mapped in the one before must be unmapped, which does no harm when it is gone already.
 */
export interface ShmemMapper {
  /**
   * Maps a range of a file; when it returns 0 the guest can use it. The front-end gets a copy of `fd`, which must be open
   * for reading and writing, also when `writable` is false. A range that is mapped just like that already is left alone;
   * what else overlaps must have been unmapped before.
   */
  map(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number;
  /** Unmaps what was mapped by one call of `map`, or 0 if there is nothing. */
  unmap(shmOffset: number, bytes: number): number;
  /** Unmaps all there is. */
  unmapAll(): number;
  /**
   * Copies between a file and guest memory that only the front-end can reach (PLACE.FOREIGN): the "fs" dialect's FS_IO.
   * `toGuest` reads the file. -ENOSYS in the other dialect.
   */
  transfer(fd: number, fdOffset: number, guestAddress: number, bytes: number, toGuest: boolean): number;
}

/** What a queue's worker has, for a device that keeps its mappings over a reset by itself. */
export interface Remapper extends ShmemMapper {
  /**
   * As `map`, for what this front-end has mapped before and may have dropped: it drops all at a reset of the device, and does
   * not tell. It is asked in any case, and when it refuses, then because the mapping is there.
   */
  remap(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number;
}
