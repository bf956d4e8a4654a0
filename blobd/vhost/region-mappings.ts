import { fstatSync } from "node:fs";
import { mapShared, unmapShared } from "../sys/index.ts";
import type { MemoryRegion } from "./data-plane.ts";
import type { MappedRegion } from "./guest-memory.ts";

/** Guest memory that is mapped into this process. */
export class RegionMappings {
  #current: MappedRegion[] = [];

  get current(): readonly MappedRegion[] {
    return this.#current;
  }

  /**
   * Maps what is new.
   * @returns what is gone: to be given to `release` when nobody uses it any more
   * @throws Error when a region cannot be mapped; nothing has changed then
   */
  replace(regions: readonly MemoryRegion[]): MappedRegion[] {
    const known = new Map(this.#current.map((region) => [region.id, region]));
    const added: MappedRegion[] = [];
    try {
      const next = regions.map((region) => {
        const old = known.get(region.id);
        if (old !== undefined) return old;
        const mapped = mapRegion(region);
        added.push(mapped);
        return mapped;
      });
      this.#current = next;
    } catch (error) {
      this.release(added);
      throw error;
    }
    const kept = new Set(regions.map((region) => region.id));
    return [...known.values()].filter((region) => !kept.has(region.id));
  }

  release(regions: readonly MappedRegion[]): void {
    for (const region of regions) unmapShared(region.hostAddress, region.bytes);
  }
}

function mapRegion({ id, guestAddress, bytes, fd, fdOffset }: MemoryRegion): MappedRegion {
  const stat = fstatSync(fd);
  // Behind the end of a file the memory would be there, and kill whoever touches it.
  if (stat.isFile() && stat.size < fdOffset + bytes)
    throw new Error(`memory region of ${bytes} bytes at ${fdOffset} of a file of ${stat.size}`);
  return { id, guestAddress, bytes, hostAddress: mapShared(fd, fdOffset, bytes) };
}
