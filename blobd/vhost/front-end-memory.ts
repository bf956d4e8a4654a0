import { closeSync, fstatSync } from "node:fs";
import { checkApart, MAX_MEMORY_SLOTS, type Region } from "../../formats/vhost-user/index.ts";
import type { MemoryRegion, WindowPlace } from "./data-plane.ts";
import type { WindowState } from "./window-state.ts";

/** A region of the front-end's table. */
interface TableRegion extends Region {
  readonly id: number;
  readonly fd: number;
  readonly dev: number;
  readonly ino: number;
  /** It is a mapping in the device's own window, not guest memory. */
  readonly isWindow: boolean;
}

/**
 * The memory table: which of its regions are those from before, and which are no memory at all but what this device has
 * itself mapped into its window. A front-end lists those too (as far as its table has room), and by them it tells where the
 * guest has put the window.
 */
export class FrontEndMemory {
  readonly #windowBytes: number;
  #regions: TableRegion[] = [];
  #nextId = 1;
  #window: WindowPlace | null = null;

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes;
  }

  /** Where the window was seen last. */
  get window(): WindowPlace | null {
    return this.#window;
  }

  /** Guest memory proper. */
  get ram(): MemoryRegion[] {
    return this.#regions.filter((region) => !region.isWindow);
  }

  /**
   * A whole new table. The descriptors become the table's.
   * @returns descriptors that are to be closed when the data plane knows the new table
   */
  replace(regions: readonly Region[], fds: readonly number[], state: WindowState | null): number[] {
    const before = this.#regions;
    const next: TableRegion[] = [];
    const unused: number[] = [];
    for (const [i, region] of regions.entries()) {
      const fd = fds[i] as number;
      const { dev, ino } = identityOf(fd);
      const old = before.find((other) => isSame(other, region, dev, ino) && !next.includes(other));
      if (old !== undefined) {
        unused.push(fd);
        next.push(old);
      } else next.push(this.#describe(region, fd, dev, ino, state));
    }
    this.#regions = next;
    for (const region of before) if (!next.includes(region)) unused.push(region.fd);
    return unused;
  }

  /** One more region. @throws FormatError when it overlaps another; Error when there are too many */
  add(region: Region, fd: number, state: WindowState | null): void {
    checkApart(region, this.#regions);
    if (this.#regions.length === MAX_MEMORY_SLOTS) throw new Error(`more than ${MAX_MEMORY_SLOTS} memory regions`);
    const { dev, ino } = identityOf(fd);
    this.#regions.push(this.#describe(region, fd, dev, ino, state));
  }

  /** Takes a region out. @returns its descriptor, to be closed as with `replace` @throws Error when there is none such */
  remove(region: Region): number {
    const at = this.#regions.findIndex(
      (other) =>
        other.guestAddress === region.guestAddress &&
        other.userAddress === region.userAddress &&
        other.bytes === region.bytes,
    );
    const [removed] = at < 0 ? [] : this.#regions.splice(at, 1);
    if (removed === undefined) throw new Error(`no memory region at 0x${region.guestAddress.toString(16)} to remove`);
    return removed.fd;
  }

  /** The guest's address of a front-end's one, -1 when it lies in no region. */
  guestAddress(userAddress: number): number {
    for (const region of this.#regions)
      if (userAddress >= region.userAddress && userAddress < region.userAddress + region.bytes)
        return region.guestAddress + (userAddress - region.userAddress);
    return -1;
  }

  /** The id of the region in which a guest address lies, -1 for none. */
  regionId(guestAddress: number): number {
    const region = this.#regions.find(
      ({ guestAddress: start, bytes }) => guestAddress >= start && guestAddress < start + bytes,
    );
    return region === undefined ? -1 : region.id;
  }

  /** Forgets all. @returns descriptors to be closed */
  clear(): number[] {
    const fds = this.#regions.map((region) => region.fd);
    this.#regions = [];
    this.#window = null;
    return fds;
  }

  #describe(region: Region, fd: number, dev: number, ino: number, state: WindowState | null): TableRegion {
    const places = state === null ? [] : state.placesOf(dev, ino, region.fdOffset);
    if (places.length > 0) this.#learnWindow(region.guestAddress, places);
    const isWindow = places.length > 0 || dev === GONE || this.#isInWindow(region);
    return { ...region, id: this.#nextId++, fd, dev, ino, isWindow };
  }

  #isInWindow({ guestAddress, bytes }: Region): boolean {
    const window = this.#window;
    if (window === null) return false;
    return guestAddress >= window.guestAddress && guestAddress + bytes <= window.guestAddress + window.bytes;
  }

  /** A range of a file that is mapped at `places` of the window has turned up at a guest address. */
  #learnWindow(guestAddress: number, places: readonly number[]): void {
    const bases = places.map((place) => guestAddress - place).filter((base) => base >= 0);
    const known = this.#window?.guestAddress;
    // The same range at several places leaves several answers; the one that is known already is preferred.
    const base = bases.find((candidate) => candidate === known) ?? bases[0];
    if (base !== undefined && base !== known) this.#window = { guestAddress: base, bytes: this.#windowBytes };
  }
}

/** `dev` of a file whose file system is gone. */
const GONE = -1;

/**
 * What tells a file from others. A device may hand out files of a file system of its own, which ends with the process
 * that served it while the front-end still has them mapped; guest memory is never such a file.
 */
function identityOf(fd: number): { dev: number; ino: number } {
  try {
    return fstatSync(fd);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ECONNABORTED" || code === "ENOTCONN") return { dev: GONE, ino: 0 };
    throw error;
  }
}

function isSame(old: TableRegion, region: Region, dev: number, ino: number): boolean {
  return (
    old.guestAddress === region.guestAddress &&
    old.bytes === region.bytes &&
    old.userAddress === region.userAddress &&
    old.fdOffset === region.fdOffset &&
    old.dev === dev &&
    old.ino === ino
  );
}

/** Closes descriptors that nobody needs any more. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeSync(fd);
}
