import type { ChannelDescription, MemoryRegion, QueueStart, WindowPlace } from "../../vhost/index.ts";
import type { VirtiofsOptions } from "../device/index.ts";
import type { GuestFile } from "../queue/index.ts";

/**
 * What a supervisor and the process that does the work say to each other. Descriptors travel beside; their order is said
 * with each message.
 */

/** First message to a process: what it is going to serve, so that it can make itself ready. */
export interface PrepareMessage {
  readonly prepare: VirtiofsOptions;
  /** It is kept ready, and has time. */
  readonly isStandby: boolean;
}

/**
 * It serves from now on. Descriptors: the device's memory; the volume's memory, if it was held; the guest's memory that is
 * files, in the order of `guestFiles`; files that were held, in the order of `files`.
 */
export interface StartMessage {
  readonly start: VirtiofsOptions;
  /** Another process has served this device before and is dead. */
  readonly takesOver: boolean;
  readonly hasVolume: boolean;
  readonly guestFiles: readonly Omit<GuestFile, "fd">[];
  /** Handles of the files that were held. */
  readonly files: readonly number[];
}

/** A call of the data plane's interface; each is answered. */
export type Call =
  /** Descriptors: one a region. */
  | { readonly call: "setMemory"; readonly regions: readonly Omit<MemoryRegion, "fd">[] }
  | { readonly call: "setWindow"; readonly window: WindowPlace | null }
  /** Descriptors: the socket, its state. */
  | { readonly call: "setChannel"; readonly channel: Omit<ChannelDescription, "fd" | "stateFd"> | null }
  /** Descriptors: the in-flight region, then kick and call where there are such. */
  | { readonly call: "startQueue"; readonly queue: QueueMessage }
  /** Descriptor: the eventfd, if there is one. */
  | { readonly call: "setCall"; readonly index: number }
  | { readonly call: "stopQueue"; readonly index: number }
  | { readonly call: "reset" | "close" };
export type QueueMessage = Omit<QueueStart, "kickFd" | "callFd" | "inflight"> & {
  readonly inflight: { readonly offset: number; readonly bytes: number };
  readonly hasKick: boolean;
  readonly hasCall: boolean;
};

export type ToWorker = PrepareMessage | StartMessage | Call;

export type FromWorker =
  /** The answer to the oldest message that was not answered yet. */
  | { readonly result: number | null }
  | { readonly error: string }
  | { readonly queueBroken: number; readonly reason: string }
  | { readonly failed: string }
  | { readonly log: string }
  /** Descriptor: the volume's memory, which is to outlive the process. */
  | { readonly volume: true }
  /** There is something in the socket for files that have lost their name. */
  | { readonly held: true };

/** A queue as a message and its descriptors. */
export function encodeQueue(start: QueueStart): { queue: QueueMessage; fds: number[] } {
  const { kickFd, callFd, inflight, ...rest } = start;
  return {
    queue: {
      ...rest,
      inflight: { offset: inflight.offset, bytes: inflight.bytes },
      hasKick: kickFd >= 0,
      hasCall: callFd >= 0,
    },
    fds: [inflight.fd, ...(kickFd >= 0 ? [kickFd] : []), ...(callFd >= 0 ? [callFd] : [])],
  };
}

export function decodeQueue({ hasKick, hasCall, inflight, ...rest }: QueueMessage, fds: readonly number[]): QueueStart {
  return {
    ...rest,
    inflight: { fd: fds[0]!, ...inflight },
    kickFd: hasKick ? fds[1]! : -1,
    callFd: hasCall ? fds[hasKick ? 2 : 1]! : -1,
  };
}
