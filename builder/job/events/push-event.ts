import type { Digest } from "../../../formats/oci/index.ts";

/** Somebody pushed a manifest: what a registry told, in the registry's own words. */
export interface PushEvent {
  /** The registry as the sender names it: `host[:port]`. */
  readonly host: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** What a notification told. */
export interface Notification {
  readonly pushes: readonly PushEvent[];
  /** How many of its events are of no concern: pulls, deletions, layers, our own pushes. */
  readonly passedOver: number;
}

/** Most bytes of a notification. A registry sends one event at a time; an image of 1024 layers takes 300 kB of it. */
export const MAX_NOTIFICATION_BYTES = 1 << 20;
/** Most events, or resources of an event, in one notification. */
export const MAX_EVENTS = 1000;
