import { BLOCK_SIZE, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../tree/index.ts";
import {
  CHUNK_FORMAT_INDEXES,
  ChunkIndex,
  DATALAYOUT_FLAT_INLINE,
  InodeCompact,
  InodeExtended,
  XattrIbodyHeader,
} from "../format.ts";
import {
  type Budget,
  chunkArray,
  type ErofsInode,
  type Image,
  inlineTail,
  mapExtents,
  PRIMARY_DEVICE,
  readSymlink,
  XattrReader,
} from "../reader/index.ts";
import type { Claims } from "./claims.ts";
import type { Place, Problems } from "./problems.ts";
import type { StatsCollector } from "./stats.ts";
import { requireZero } from "./zero.ts";

/** Longest name of an extended attribute, prefix and all (Linux XATTR_NAME_MAX). */
const XATTR_NAME_MAX = 255;

/** Checks inodes one by one: all but what their names say about them. */
export class InodeChecker {
  readonly xattrs: XattrReader;
  readonly #image: Image;
  readonly #problems: Problems;
  readonly #claims: Claims;
  readonly #stats: StatsCollector;
  readonly #budget: Budget;
  readonly #strict: boolean;

  constructor(
    image: Image,
    problems: Problems,
    claims: Claims,
    stats: StatsCollector,
    budget: Budget,
    strict: boolean,
  ) {
    this.xattrs = new XattrReader(image, budget);
    this.#image = image;
    this.#problems = problems;
    this.#claims = claims;
    this.#stats = stats;
    this.#budget = budget;
    this.#strict = strict;
  }

  /** @throws FormatError when the walk's budget is spent */
  check(inode: ErofsInode, place: Place): void {
    this.#stats.addInode(inode);
    this.#budget.claim(inode.tailOffset - inode.offset, "erofs_inode", inode.offset);
    this.#claims.add(place, inode.offset, inode.tailOffset - inode.offset);
    const xattrs = this.#problems.attempt(place, () => this.xattrs.list(inode));
    if (xattrs !== undefined) this.#stats.addXattrs(xattrs);
    for (const { name } of xattrs ?? [])
      if (name.length > XATTR_NAME_MAX)
        this.#problems.add(place, "erofs_xattr_entry.nameLen", inode.xattrOffset, `a name of ${name.length} bytes`);
    if (inode.xattrIcount === 1)
      this.#problems.add(
        place,
        "erofs_inode.xattrIcount",
        inode.offset,
        "found 1, a body without xattrs: Linux refuses it",
      );
    if (this.#strict) this.#checkReserved(inode, place);
    switch (inode.mode & S_IFMT) {
      case S_IFREG:
        this.#checkFile(inode, place);
        break;
      case S_IFDIR:
        break;
      case S_IFLNK:
        this.#checkSymlink(inode, place);
        break;
      default:
        if (inode.size !== 0)
          this.#problems.add(
            place,
            "erofs_inode.size",
            inode.offset,
            `found ${inode.size} for a device, fifo or socket`,
          );
    }
  }

  #checkFile(inode: ErofsInode, place: Place): void {
    const array = this.#problems.attempt(place, () => chunkArray(this.#image, inode));
    if (array === undefined) return;
    if (array !== null) {
      this.#budget.claim(array.bytes, "chunk array", array.offset);
      this.#claims.add(place, array.offset, array.bytes);
      if (this.#strict) this.#checkChunkReserved(inode, place, array.offset, array.bytes);
    }
    this.#problems.attempt(place, () =>
      mapExtents(this.#image, inode, (device, blkAddr, blocks) => {
        this.#stats.addExtent(device, blkAddr, blocks);
        if (device === PRIMARY_DEVICE && blkAddr + blocks > this.#image.superblock.blocks)
          this.#problems.add(
            place,
            "extent",
            inode.offset,
            `${blocks} blocks from block ${blkAddr}, the superblock says the image has ${this.#image.superblock.blocks}`,
          );
      }),
    );
    this.#stats.inlineBytes += this.#checkTail(inode, place);
  }

  #checkSymlink(inode: ErofsInode, place: Place): void {
    this.#problems.attempt(place, () => readSymlink(this.#image, inode));
    if (inode.dataLayout === DATALAYOUT_FLAT_INLINE) {
      this.#checkTail(inode, place);
      return;
    }
    this.#budget.claim(inode.size, "symlink target", inode.offset);
    this.#claims.add(place, inode.u * BLOCK_SIZE, inode.size);
  }

  /** Claims the data behind an inode; returns its length in bytes. */
  #checkTail(inode: ErofsInode, place: Place): number {
    const tail = this.#problems.attempt(place, () => inlineTail(this.#image, inode));
    if (tail === undefined) return 0;
    this.#budget.claim(tail.length, "inline data", inode.tailOffset);
    this.#claims.add(place, inode.tailOffset, tail.length);
    return tail.length;
  }

  #checkReserved(inode: ErofsInode, place: Place): void {
    const zero = (field: string, offset: number, bytes: number): void =>
      requireZero(this.#image.pages, this.#problems, place, field, offset, bytes);
    if (inode.extended) {
      zero("erofs_inode_extended.reserved", inode.offset + InodeExtended.at.reserved, 2);
      zero("erofs_inode_extended.reserved2", inode.offset + InodeExtended.at.reserved2, 16);
    } else {
      zero("erofs_inode_compact.reserved", inode.offset + InodeCompact.at.reserved, 4);
      zero("erofs_inode_compact.reserved2", inode.offset + InodeCompact.at.reserved2, 4);
    }
    if (inode.xattrIcount > 0)
      zero("erofs_xattr_ibody_header.reserved", inode.xattrOffset + XattrIbodyHeader.at.reserved, 7);
  }

  #checkChunkReserved(inode: ErofsInode, place: Place, offset: number, bytes: number): void {
    requireZero(
      this.#image.pages,
      this.#problems,
      place,
      "erofs_inode_chunk_info.reserved",
      inode.offset + InodeCompact.at.u + 2,
      2,
    );
    if ((inode.u & CHUNK_FORMAT_INDEXES) === 0) return;
    const page = this.#image.pages.at(offset, bytes);
    for (let at = offset; at < offset + bytes; at += ChunkIndex.size) {
      const advise = page.dv.getUint16(at - page.start + ChunkIndex.at.advise, true);
      if (advise === 0) continue;
      this.#problems.add(place, "erofs_inode_chunk_index.advise", at, `found ${advise}, expected zero`);
      return;
    }
  }
}
