import type { ByteString } from "../../bytes/index.ts";
import {
  BLOCK_SIZE,
  HOLE,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  type Xattr,
} from "../../tree/index.ts";
import { DATALAYOUT_CHUNK_BASED, DATALAYOUT_FLAT_INLINE, DATALAYOUT_FLAT_PLAIN } from "../format.ts";
import type { Device, ErofsInode } from "../reader/index.ts";
import { Runs } from "./runs.ts";

/** What files use of one device. */
export interface DeviceStats {
  readonly tag: ByteString;
  /** Size in blocks. */
  readonly blocks: number;
  /** Blocks that files use, each as often as it is used. */
  readonly referencedBlocks: number;
  /** Blocks that files use, each once. */
  readonly usedBlocks: number;
  /** Bytes saved by blocks used more than once. */
  readonly dedupedBytes: number;
}

/** What an image holds; counts of what could be read when the image is damaged. */
export interface ImageStats {
  readonly inodes: number;
  readonly regularFiles: number;
  readonly directories: number;
  readonly symlinks: number;
  readonly charDevices: number;
  readonly blockDevices: number;
  readonly fifos: number;
  readonly sockets: number;
  /** Names, without `.` and `..`. */
  readonly names: number;
  readonly compactInodes: number;
  readonly extendedInodes: number;
  /** Inodes by data layout. */
  readonly flatPlain: number;
  readonly flatInline: number;
  readonly chunkBased: number;
  readonly compressed: number;
  readonly inodesWithXattrs: number;
  /** Extended attributes, each as often as an inode has it. */
  readonly xattrs: number;
  /** Distinct entries in the shared xattr area that are in use. */
  readonly sharedXattrs: number;
  readonly extents: number;
  readonly holeBytes: number;
  /** Sum of the sizes of regular files, hard links once. */
  readonly logicalBytes: number;
  /** File data kept behind inodes. */
  readonly inlineBytes: number;
  /** Blocks of file data, each once, on all devices, in bytes. */
  readonly storedBytes: number;
  /** Superblock, inodes, xattrs, chunk arrays, directories, symlinks, inline data. */
  readonly metadataBytes: number;
  /** The image itself first, then the device table. */
  readonly devices: readonly DeviceStats[];
}

/** Adds up ImageStats during a walk. */
export class StatsCollector {
  inodes = 0;
  names = 0;
  compactInodes = 0;
  inodesWithXattrs = 0;
  xattrs = 0;
  extents = 0;
  holeBlocks = 0;
  logicalBytes = 0;
  inlineBytes = 0;
  /** What files use of each device, the image itself first. */
  readonly runs: Runs[];
  readonly #devices: readonly Pick<Device, "tag" | "blocks">[];
  readonly #types = new Map<number, number>();
  readonly #layouts = [0, 0, 0, 0, 0];

  constructor(imageBlocks: number, devices: readonly Device[]) {
    this.#devices = [{ tag: "", blocks: imageBlocks }, ...devices];
    this.runs = this.#devices.map(() => new Runs());
  }

  addInode(inode: ErofsInode): void {
    this.inodes++;
    if (!inode.extended) this.compactInodes++;
    this.#types.set(inode.type, (this.#types.get(inode.type) ?? 0) + 1);
    this.#layouts[inode.dataLayout]!++;
    if (inode.type === S_IFREG) this.logicalBytes += inode.size;
  }

  addXattrs(xattrs: readonly Xattr[]): void {
    if (xattrs.length > 0) this.inodesWithXattrs++;
    this.xattrs += xattrs.length;
  }

  addExtent(device: number, blkAddr: number, blocks: number): void {
    this.extents++;
    if (device === HOLE) this.holeBlocks += blocks;
    else this.runs[device]!.add(blkAddr, blocks);
  }

  finish(sharedXattrs: number, metadataBytes: number): ImageStats {
    const count = (type: number) => this.#types.get(type) ?? 0;
    const devices = this.#devices.map(({ tag, blocks }, i) => deviceStats(tag, blocks, this.runs[i]!));
    const known = [S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO];
    return {
      inodes: this.inodes,
      regularFiles: count(S_IFREG),
      directories: count(S_IFDIR),
      symlinks: count(S_IFLNK),
      charDevices: count(S_IFCHR),
      blockDevices: count(S_IFBLK),
      fifos: count(S_IFIFO),
      sockets: this.inodes - known.reduce((sum, type) => sum + count(type), 0),
      names: this.names,
      compactInodes: this.compactInodes,
      extendedInodes: this.inodes - this.compactInodes,
      flatPlain: this.#layouts[DATALAYOUT_FLAT_PLAIN]!,
      flatInline: this.#layouts[DATALAYOUT_FLAT_INLINE]!,
      chunkBased: this.#layouts[DATALAYOUT_CHUNK_BASED]!,
      compressed: this.#layouts[1]! + this.#layouts[3]!,
      inodesWithXattrs: this.inodesWithXattrs,
      xattrs: this.xattrs,
      sharedXattrs,
      extents: this.extents,
      holeBytes: this.holeBlocks * BLOCK_SIZE,
      logicalBytes: this.logicalBytes,
      inlineBytes: this.inlineBytes,
      storedBytes: devices.reduce((sum, device) => sum + device.usedBlocks * BLOCK_SIZE, 0),
      metadataBytes,
      devices,
    };
  }
}

function deviceStats(tag: ByteString, blocks: number, runs: Runs): DeviceStats {
  const { referencedBlocks } = runs;
  const usedBlocks = runs.union().reduce((sum, [start, end]) => sum + end - start, 0);
  return { tag, blocks, referencedBlocks, usedBlocks, dedupedBytes: (referencedBlocks - usedBlocks) * BLOCK_SIZE };
}
