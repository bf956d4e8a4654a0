import { FormatError } from "../bytes/index.ts";
import { MAX_ADDRESS, MAX_TABLE_REGIONS } from "./limits.ts";
import { MemoryTable, RegionDescription, SINGLE_REGION_AT } from "./messages.ts";

/** Regions are mapped in pages. */
const PAGE_BYTES = 4096;

/** A region of guest memory as a front-end describes it, in bytes. Its descriptor comes beside. */
export interface Region {
  readonly guestAddress: number;
  readonly bytes: number;
  /** The front-end's own address, by which it names rings. */
  readonly userAddress: number;
  /** Where in the descriptor's file it starts. */
  readonly fdOffset: number;
}

/**
 * SET_MEM_TABLE's payload.
 * @throws FormatError for counts and addresses out of their range, and for regions that overlap
 */
export function decodeMemoryTable(payload: Uint8Array): Region[] {
  const count = MemoryTable.view(payload).numRegions;
  if (count > MAX_TABLE_REGIONS)
    throw bad("vhost_user_memory.num_regions", 0, `found ${count}, expected at most ${MAX_TABLE_REGIONS}`);
  const expected = MemoryTable.size + count * RegionDescription.size;
  // The payload may have room for all regions, whatever their number.
  if (payload.length < expected)
    throw bad("vhost_user_memory.num_regions", 0, `${count} regions take ${expected} bytes, found ${payload.length}`);
  const regions: Region[] = [];
  for (let i = 0; i < count; i++) {
    const region = decodeRegion(payload, MemoryTable.size + i * RegionDescription.size);
    checkApart(region, regions);
    regions.push(region);
  }
  return regions;
}

/** ADD_MEM_REG's and REM_MEM_REG's payload. @throws FormatError */
export function decodeSingleRegion(payload: Uint8Array): Region {
  return decodeRegion(payload, SINGLE_REGION_AT);
}

/**
 * Refuses a region that overlaps one of `others`, in the guest's addresses or the front-end's.
 * @throws FormatError
 */
export function checkApart(region: Region, others: readonly Region[]): void {
  for (const other of others) {
    if (overlap(region.guestAddress, region.bytes, other.guestAddress, other.bytes))
      throw bad("guest_address", 0, `region ${text(region)} overlaps ${text(other)}`);
    if (overlap(region.userAddress, region.bytes, other.userAddress, other.bytes))
      throw bad("user_address", 0, `region ${text(region)} overlaps ${text(other)} in the front-end's addresses`);
  }
}

export function encodeRegion(region: Region, payload: Uint8Array, at: number): void {
  const view = RegionDescription.view(payload, at);
  view.guestAddress = region.guestAddress;
  view.size = region.bytes;
  view.userAddress = region.userAddress;
  view.mmapOffset = region.fdOffset;
}

function decodeRegion(payload: Uint8Array, at: number): Region {
  const { guestAddress, size, userAddress, mmapOffset } = RegionDescription.view(payload, at);
  const field = (name: keyof typeof RegionDescription.at) => [name, at + RegionDescription.at[name]] as const;
  if (size === 0 || size % PAGE_BYTES !== 0)
    throw bad(...field("size"), `found ${size}, expected a multiple of ${PAGE_BYTES}`);
  if (guestAddress % PAGE_BYTES !== 0 || guestAddress + size > MAX_ADDRESS)
    throw bad(
      ...field("guestAddress"),
      `found ${hex(guestAddress)} with ${hex(size)} bytes, expected pages below 2^47`,
    );
  if (userAddress + size > Number.MAX_SAFE_INTEGER)
    throw bad(...field("userAddress"), `found ${hex(userAddress)}, expected below 2^53`);
  if (mmapOffset % PAGE_BYTES !== 0 || mmapOffset + size > Number.MAX_SAFE_INTEGER)
    throw bad(...field("mmapOffset"), `found ${hex(mmapOffset)}, expected a multiple of ${PAGE_BYTES} below 2^53`);
  return { guestAddress, bytes: size, userAddress, fdOffset: mmapOffset };
}

const overlap = (a: number, aBytes: number, b: number, bBytes: number): boolean => a < b + bBytes && b < a + aBytes;
const hex = (value: number): string => `0x${value.toString(16)}`;
const text = (region: Region): string => `${hex(region.guestAddress)}+${hex(region.bytes)}`;

function bad(field: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", `vhost_user_memory_region.${field}`, at, detail);
}
