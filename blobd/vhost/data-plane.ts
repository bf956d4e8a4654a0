/**
 * What serves the virtqueues: threads of this process, or another process under this one's supervision. The control
 * plane (VhostBackend) speaks with the front-end and drives a data plane through this interface.
 *
 * Everything is a plain description plus descriptors. A descriptor belongs to the caller, who keeps it open for as long as
 * what it stands for is in use (a region until a later `setMemory` without it has returned, a queue's until it has been
 * stopped, the channel's until it is replaced); an implementation in another process passes copies.
 *
 * Calls come one at a time: the next only when the promise of the last is settled. An implementation whose workers died
 * without warning may start them again by itself from what it was told last, with `availIndex: RESUME`: the ring's used
 * index and the in-flight region, which live in memory that this process owns, tell where to go on.
 */
export interface DataPlane {
  /** Who is told what happens here; called once, before all else. */
  listen(events: DataPlaneEvents): void;
  /**
   * Guest memory from now on. A region with an `id` from before is the same: its mapping stays. Requests that are taken
   * from a queue after the promise is settled may lie in new regions; mappings of regions that are gone are removed when
   * no worker can be using them any more, which may be later.
   */
  setMemory(regions: readonly MemoryRegion[]): Promise<void>;
  /** Where the guest sees the device's window from now on; null as long as that is not known. */
  setWindow(window: WindowPlace | null): Promise<void>;
  /** How files get into the window from now on; null when they do not. */
  setChannel(channel: ChannelDescription | null): Promise<void>;
  /** Starts a queue; settled when its ring is accepted. @throws Error when the ring does not lie in guest memory */
  startQueue(start: QueueStart): Promise<void>;
  /** The eventfd that tells the guest of used buffers, -1 for none, for a queue that runs. */
  setCall(index: number, callFd: number): Promise<void>;
  /**
   * Stops a queue: nothing of it is touched any more. Requests that are parked stay marked in the in-flight region.
   * @returns where in the available ring it would go on, the queue's next `availIndex`
   */
  stopQueue(index: number): Promise<number>;
  /** The device was reset: parked requests are forgotten, handlers told. All queues have been stopped before. */
  reset(): Promise<void>;
  /** Ends all workers and gives everything back. Safe to call at any time, also twice. */
  close(): Promise<void>;
}

export interface DataPlaneEvents {
  /** A guest's queue cannot be served on; it has stopped. The connection ends. */
  queueBroken(index: number, reason: string): void;
  /** The data plane is lost and cannot be started again. */
  failed(reason: string): void;
}

/** A piece of guest memory, as a descriptor that can be mapped. Sizes and addresses in bytes. */
export interface MemoryRegion {
  /** Names this mapping: a region of a later table with the same id is the same. Never used for another. */
  readonly id: number;
  readonly guestAddress: number;
  readonly bytes: number;
  readonly fd: number;
  /** Where in the file the region starts: page-aligned. */
  readonly fdOffset: number;
}

/** Where the guest has put the device's window. */
export interface WindowPlace {
  readonly guestAddress: number;
  readonly bytes: number;
}

/** `QueueStart.availIndex`: go on where the used index and the in-flight region tell. */
export const RESUME = -1;

/** A virtqueue as the front-end described it. Addresses are the guest's. */
export interface QueueStart {
  readonly index: number;
  /** Descriptors of the ring, a power of two. */
  readonly size: number;
  readonly descriptorAddress: number;
  readonly availableAddress: number;
  readonly usedAddress: number;
  /** First entry of the available ring to take (0 to 65535), or RESUME. */
  readonly availIndex: number;
  /** VIRTIO_RING_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** eventfd that the guest kicks; -1 when it does not and the ring has to be looked at again and again. */
  readonly kickFd: number;
  /** eventfd that tells the guest; -1 when it looks by itself. */
  readonly callFd: number;
  /** This queue's part of the in-flight region: `QueueRegionSplit` of the vhost-user specification. */
  readonly inflight: { readonly fd: number; readonly offset: number; readonly bytes: number };
}

/** Messages by which files get into the window. */
export type WindowDialect =
  /** SHMEM_MAP and SHMEM_UNMAP: the specification, QEMU from 11.0. */
  | "shmem"
  /** FS_MAP, FS_UNMAP, FS_SYNC, FS_IO: the virtio-fs DAX patches that went before, and VMMs that took them. */
  | "fs";

/** The back-end channel: a stream socket on which the back-end asks and the front-end answers. */
export interface ChannelDescription {
  readonly fd: number;
  readonly dialect: WindowDialect;
  /** The front-end answers requests that ask for it (REPLY_ACK). */
  readonly acknowledged: boolean;
  readonly windowBytes: number;
  /**
   * Memory in which the channel's state lives, so that the control plane sees what is mapped and the next user of the
   * channel knows what its predecessor left: see window-state.ts. A memfd of WINDOW_STATE_BYTES.
   */
  readonly stateFd: number;
}
