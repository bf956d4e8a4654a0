import type { ChannelDescription, QueueStart, WindowPlace } from "./data-plane.ts";
import type { MappedRegion } from "./guest-memory.ts";
import type { SharedWord } from "./worker-signal.ts";

/** What a LocalDataPlane tells a queue's worker. Each is answered by its `id`. */
export type WorkerCommand = { readonly id: number } & (
  | { readonly kind: "memory"; readonly regions: readonly MappedRegion[] }
  | { readonly kind: "window"; readonly window: WindowPlace | null }
  | { readonly kind: "channel"; readonly channel: ChannelDescription | null; readonly lockFd: number }
  | { readonly kind: "start"; readonly start: QueueStart }
  | { readonly kind: "stop" }
  | { readonly kind: "reset" }
  | { readonly kind: "quit" }
);

/**
 * Commands for which no worker may go on waiting for the front-end, since the front-end waits for them, or since the
 * channel goes. The others must be able to wait: a change of the memory table is a consequence of most mappings.
 */
export function interrupts(kind: WorkerCommand["kind"]): boolean {
  return kind !== "memory" && kind !== "window";
}

/** What a worker says: an answer, or that its queue is broken. */
export type WorkerReport =
  | { readonly id: number; readonly value: number }
  | { readonly id: number; readonly error: string }
  | { readonly broken: string };

/** Where a worker gets its commands from, and reports to. */
export interface CommandPort {
  /** The next command; undefined when there is none. */
  receive(): WorkerCommand | undefined;
  report(report: WorkerReport): void;
}

/** What a worker is started with, besides its port. */
export interface WorkerStart {
  readonly queue: number;
  readonly data: unknown;
  /** The WorkerSignal's parts. */
  readonly signalFd: number;
  readonly posted: SharedWord;
  readonly interrupts: SharedWord;
}
