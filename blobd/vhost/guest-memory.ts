import { viewMemory } from "../sys/index.ts";
import { MAX_SEGMENTS, PLACE, type Segments } from "./chain.ts";
import type { WindowPlace } from "./data-plane.ts";
import { QueueBroken } from "./queue-broken.ts";

/** A region of guest memory that is mapped into this process. */
export interface MappedRegion {
  readonly id: number;
  readonly guestAddress: number;
  readonly bytes: number;
  readonly hostAddress: number;
}

/** A piece's length has 32 bits. */
const MAX_LENGTH = 0xffff_ffff;

/** Guest memory as one worker sees it: guest addresses to this process's. */
export class GuestMemory {
  #count = 0;
  /** Of each region, sorted by guest address: first byte, first byte behind it, this process's address. */
  #start = new Float64Array(0);
  #end = new Float64Array(0);
  #host = new Float64Array(0);
  #views: (DataView | undefined)[] = [];
  #window: WindowPlace | null = null;
  /** The region that was found last: most addresses of a request lie in the same. */
  #last = 0;

  setRegions(regions: readonly MappedRegion[]): void {
    const sorted = [...regions].sort((a, b) => a.guestAddress - b.guestAddress);
    this.#count = sorted.length;
    this.#start = Float64Array.from(sorted, (region) => region.guestAddress);
    this.#end = Float64Array.from(sorted, (region) => region.guestAddress + region.bytes);
    this.#host = Float64Array.from(sorted, (region) => region.hostAddress);
    this.#views = sorted.map(() => undefined);
    this.#last = 0;
  }

  setWindow(window: WindowPlace | null): void {
    this.#window = window;
  }

  /** This process's address of `bytes` of guest memory that lie in one region, or -1. */
  address(guestAddress: number, bytes: number): number {
    const region = this.#find(guestAddress);
    if (region < 0 || guestAddress + bytes > (this.#end[region] as number)) return -1;
    return (this.#host[region] as number) + (guestAddress - (this.#start[region] as number));
  }

  /**
   * The view of the region in which `bytes` of guest memory lie, or undefined when there is no such. `offsetIn` tells
   * where they are in it.
   */
  view(guestAddress: number, bytes: number): DataView | undefined {
    const region = this.#find(guestAddress);
    if (region < 0) return undefined;
    const end = this.#end[region] as number;
    if (guestAddress + bytes > end) return undefined;
    let view = this.#views[region];
    if (view === undefined) {
      view = new DataView(viewMemory(this.#host[region] as number, end - (this.#start[region] as number)));
      this.#views[region] = view;
    }
    return view;
  }

  /** Offset of an address in the view that `view` has just given for it. */
  offsetIn(guestAddress: number): number {
    return guestAddress - (this.#start[this.#last] as number);
  }

  /**
   * Appends what lies at `guestAddress`, in as many pieces as it takes.
   * @throws QueueBroken when there are more than MAX_SEGMENTS
   */
  append(segments: Segments, guestAddress: number, bytes: number): void {
    segments.bytes += bytes;
    let at = guestAddress;
    let left = bytes;
    while (left > 0) {
      const index = segments.count;
      if (index === MAX_SEGMENTS) throw new QueueBroken(`a request has more than ${MAX_SEGMENTS} pieces`);
      segments.count = index + 1;
      const region = this.#find(at);
      if (region >= 0) {
        const length = Math.min(left, (this.#end[region] as number) - at);
        const host = (this.#host[region] as number) + (at - (this.#start[region] as number));
        if (index > 0 && this.#joins(segments, index - 1, host, length)) {
          segments.count = index;
          at += length;
          left -= length;
          continue;
        }
        segments.address[index] = host;
        segments.length[index] = length;
        segments.place[index] = PLACE.RAM;
        at += length;
        left -= length;
        continue;
      }
      segments.isRam = false;
      const length = this.#appendElsewhere(segments, index, at, left);
      at += length;
      left -= length;
    }
  }

  /** Makes a piece longer that ends where the next one starts: pages of a file are often neighbours in guest memory. */
  #joins(segments: Segments, last: number, host: number, bytes: number): boolean {
    const length = segments.length[last] as number;
    if (segments.place[last] !== PLACE.RAM || (segments.address[last] as number) + length !== host) return false;
    if (length + bytes > MAX_LENGTH) return false;
    segments.length[last] = length + bytes;
    return true;
  }

  #appendElsewhere(segments: Segments, index: number, at: number, left: number): number {
    const window = this.#window;
    if (window !== null && at >= window.guestAddress && at < window.guestAddress + window.bytes) {
      const length = Math.min(left, window.guestAddress + window.bytes - at);
      segments.address[index] = at - window.guestAddress;
      segments.length[index] = length;
      segments.place[index] = PLACE.WINDOW;
      return length;
    }
    segments.address[index] = at;
    segments.length[index] = left;
    segments.place[index] = PLACE.FOREIGN;
    return left;
  }

  #find(guestAddress: number): number {
    const last = this.#last;
    if (
      last < this.#count &&
      guestAddress >= (this.#start[last] as number) &&
      guestAddress < (this.#end[last] as number)
    )
      return last;
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (guestAddress < (this.#start[middle] as number)) high = middle - 1;
      else if (guestAddress >= (this.#end[middle] as number)) low = middle + 1;
      else {
        this.#last = middle;
        return middle;
      }
    }
    return -1;
  }
}
