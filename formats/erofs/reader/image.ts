import { type ByteSource, type ByteString, FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import { Pages } from "./pages.ts";
import { type Device, readDevices, readSuperblock, type Superblock } from "./superblock.ts";
import { readXattrPrefixes } from "./xattr-names.ts";

/** An opened image: what the functions of this folder work on. */
export interface Image {
  readonly source: ByteSource;
  readonly pages: Pages;
  readonly superblock: Superblock;
  readonly devices: readonly Device[];
  /** Byte offset of NID 0. */
  readonly metaStart: number;
  /** Byte offset of shared xattr 0. */
  readonly xattrStart: number;
  /** Long xattr name prefixes, expanded. */
  readonly xattrPrefixes: readonly ByteString[];
  /** Where devices lie in the flattened address space, in blocks, by address: addresses of device 0 may mean them. */
  readonly unified: readonly UnifiedRange[];
  /** The bits of a chunk's device id that count. */
  readonly deviceIdMask: number;
  /** Blocks that the source holds, the last one perhaps in part. */
  readonly sourceBlocks: number;
}

/** A device's place in the flattened address space, in blocks. */
export interface UnifiedRange {
  readonly start: number;
  readonly end: number;
  /** Index into the device table. */
  readonly slot: number;
}

/** @throws FormatError */
export function openImage(source: ByteSource, verifyChecksum: boolean): Image {
  const pages = new Pages(source);
  const superblock = readSuperblock(pages, verifyChecksum);
  const devices = readDevices(pages, superblock);
  return {
    source,
    pages,
    superblock,
    devices,
    metaStart: superblock.metaBlkAddr * BLOCK_SIZE,
    xattrStart: superblock.xattrBlkAddr * BLOCK_SIZE,
    xattrPrefixes: readXattrPrefixes(pages, superblock),
    unified: unifiedRanges(devices),
    deviceIdMask: 2 ** Math.ceil(Math.log2(devices.length + 1)) - 1,
    sourceBlocks: Math.ceil(source.size / BLOCK_SIZE),
  };
}

function unifiedRanges(devices: readonly Device[]): UnifiedRange[] {
  const ranges: UnifiedRange[] = [];
  for (const [slot, { mappedBlkAddr, blocks }] of devices.entries())
    if (mappedBlkAddr !== 0) ranges.push({ start: mappedBlkAddr, end: mappedBlkAddr + blocks, slot });
  return ranges.sort((a, b) => a.start - b.start);
}

/** Most metadata that one walk takes in, in bytes: about ten million files. */
const MAX_METADATA_BYTES = 4 * 2 ** 30;

/**
 * Bounds the work and the memory of a walk over a whole image. In a sound image inodes, xattrs, chunk arrays, directory
 * blocks and inline data are disjoint, so together they are smaller than the image. A hostile one can point a million
 * inodes at the same bytes; then the sum passes the image's size and the walk ends.
 */
export class Budget {
  #left: number;

  constructor(image: Image) {
    this.#left = Math.min(image.source.size, MAX_METADATA_BYTES);
  }

  /** @throws FormatError ERR_BAD_VALUE when the image's metadata adds up to more than the image. */
  claim(bytes: number, field: string, offset: number): void {
    this.#left -= bytes;
    if (this.#left < 0)
      throw new FormatError(
        "ERR_BAD_VALUE",
        field,
        offset,
        "the metadata up to here adds up to more bytes than the image has: parts of it overlap",
      );
  }
}
