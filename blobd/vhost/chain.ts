/** What a piece of a request lies in: `Segments.place`. */
export const PLACE = {
  /** Guest memory: `address` is this process's. */
  RAM: 0,
  /** The device's own window: `address` is an offset into it. The device knows which file that is. */
  WINDOW: 1,
  /** Memory of the guest that this process does not have: `address` is the guest's. */
  FOREIGN: 2,
} as const;

/** Descriptors that a chain may have, those of an indirect table included. Linux virtio-fs uses at most 261. */
export const MAX_SEGMENTS = 1024;

/** The pieces of a request in one direction, in order, as parallel arrays. */
export class Segments {
  count = 0;
  /** Sum of the lengths. */
  bytes = 0;
  /** Whether all of it is PLACE.RAM. */
  isRam = true;
  readonly address = new Float64Array(MAX_SEGMENTS);
  readonly length = new Uint32Array(MAX_SEGMENTS);
  readonly place = new Uint8Array(MAX_SEGMENTS);

  clear(): void {
    this.count = 0;
    this.bytes = 0;
    this.isRam = true;
  }
}

/**
 * A request as the guest laid it out. A worker has one, filled anew for each request: nothing of it may be kept beyond the
 * call that got it, for guest memory may be gone by then.
 */
export class Chain {
  /** Index of its first descriptor: names the request until it is completed. */
  head = 0;
  /** What the guest gives. */
  readonly readable = new Segments();
  /** What the guest wants filled. */
  readonly writable = new Segments();
  /** A worker before this one had it in its hands: it may have been carried out already. */
  isRepeated = false;
}
