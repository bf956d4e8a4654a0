import { type ByteSource, type ByteString, FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE } from "../../tree/index.ts";
import { fileTypeOf } from "../file-type.ts";
import { Dirent } from "../format.ts";
import {
  Budget,
  DirBlock,
  decodeInode,
  dirBlockCount,
  ErofsInode,
  type ErofsReader,
  type Image,
  MAX_DIRENTS,
  openErofs,
} from "../reader/index.ts";
import { Claims } from "./claims.ts";
import { checkContent } from "./content.ts";
import { checkHeader } from "./header.ts";
import { InodeChecker } from "./inodes.ts";
import { type CheckProblem, type Place, Problems } from "./problems.ts";
import { type ImageStats, StatsCollector } from "./stats.ts";

export interface CheckOptions {
  /**
   * Also demand what images of this project promise beyond the format: a checksum, no features but chunks and devices, zero
   * in every reserved byte, devices with digest, size and place, a true inode count.
   */
  readonly strict?: boolean;
  /**
   * Also take the metadata's digest and compare it with the UUID, which this project's writer made of it: every change
   * shows. For images with a device table; in a flat one the digests of the blobs are not at hand.
   */
  readonly content?: boolean;
  /** Problems listed at most; 100 unless told otherwise. Those beyond are only counted. */
  readonly maxProblems?: number;
}

export interface CheckResult {
  /** Empty for a sound image. */
  readonly problems: readonly CheckProblem[];
  /** All problems, those not listed too. */
  readonly problemCount: number;
  /** What could be read; null when not even the superblock could. */
  readonly stats: ImageStats | null;
}

const DEFAULT_MAX_PROBLEMS = 100;

/**
 * Verifies an image's structure: superblock, device table, every inode that the root leads to, every directory, every
 * address, every link count, and that no two structures share bytes. One broken file does not hide the next. The contents
 * of blobs are not looked at: their digests are the caller's to verify.
 *
 * @throws nothing for a damaged image: what is wrong with it is the result
 */
export function checkErofs(source: ByteSource, options: CheckOptions = {}): CheckResult {
  const problems = new Problems(options.maxProblems ?? DEFAULT_MAX_PROBLEMS);
  const reader = problems.attempt(null, () => openErofs(source, { verifyChecksum: false }));
  const stats = reader === undefined ? null : new Checker(reader.image, problems, options.strict === true).run();
  if (reader !== undefined && options.content) checkContent(reader.image, problems);
  return { problems: problems.list, problemCount: problems.count, stats };
}

/** What an image holds. Parts that cannot be read are left out; checkErofs tells about them. */
export function imageStats(reader: ErofsReader): ImageStats {
  return new Checker(reader.image, new Problems(0), false).run();
}

/** An inode met, and what its names say about it. */
interface Seen {
  readonly place: Place;
  readonly inode: ErofsInode;
  /** Names, or for a directory 2 and its subdirectories. */
  links: number;
}

class Checker {
  readonly #image: Image;
  readonly #problems: Problems;
  readonly #strict: boolean;
  readonly #budget: Budget;
  readonly #claims = new Claims();
  readonly #stats: StatsCollector;
  readonly #inodes: InodeChecker;
  readonly #seen = new Map<number, Seen>();
  readonly #pending: Seen[] = [];
  readonly #block = new DirBlock();
  #direntsLeft = MAX_DIRENTS;

  constructor(image: Image, problems: Problems, strict: boolean) {
    this.#image = image;
    this.#problems = problems;
    this.#strict = strict;
    this.#budget = new Budget(image);
    this.#stats = new StatsCollector(image.superblock.blocks, image.devices);
    this.#inodes = new InodeChecker(image, problems, this.#claims, this.#stats, this.#budget, strict);
  }

  run(): ImageStats {
    checkHeader(this.#image, this.#problems, this.#claims, this.#strict);
    // Only a spent budget gets out of the walk: what came before it stands.
    this.#problems.attempt(null, () => this.#walk());
    this.#checkLinks();
    for (const [id, { bytes }] of this.#inodes.xattrs.shared)
      this.#claims.add(null, this.#image.xattrStart + id * 4, bytes);
    this.#claims.reportOverlaps(this.#problems);
    const data = this.#stats.runs[0]!.union().map(([a, b]) => [a * BLOCK_SIZE, b * BLOCK_SIZE] as const);
    this.#claims.reportData(this.#problems, data);
    return this.#stats.finish(this.#inodes.xattrs.shared.size, this.#claims.bytes);
  }

  #walk(): void {
    const { rootNid } = this.#image.superblock;
    const root = this.#meet({ nid: rootNid, name: "", parent: null });
    if (root !== undefined && !root.inode.isDirectory)
      this.#problems.add(root.place, "erofs_super_block.rootNid", root.inode.offset, "the root is no directory");
    for (let i = 0; i < this.#pending.length; i++) this.#checkDirectory(this.#pending[i]!);
  }

  /** Decodes and checks an inode at its first name. */
  #meet(place: Place): Seen | undefined {
    const inode = this.#problems.attempt(place, () => decodeInode(this.#image, place.nid, new ErofsInode()));
    if (inode === undefined) return undefined;
    const seen: Seen = { place, inode, links: inode.isDirectory ? 2 : 0 };
    this.#seen.set(place.nid, seen);
    this.#inodes.check(inode, place);
    if (inode.isDirectory) this.#pending.push(seen);
    return seen;
  }

  #checkDirectory(dir: Seen): void {
    const { inode, place } = dir;
    const blocks = dirBlockCount(inode);
    const names = new NameOrder();
    for (let b = 0; b < blocks; b++) {
      const bytes = Math.min(BLOCK_SIZE, inode.size - b * BLOCK_SIZE);
      this.#budget.claim(bytes, "directory block", inode.offset);
      const block = this.#problems.attempt(place, () => this.#block.load(this.#image, inode, b));
      if (block === undefined) continue;
      this.#claims.add(place, block.offset, block.length);
      this.#direntsLeft -= block.count;
      if (this.#direntsLeft < 0)
        throw new FormatError("ERR_UNSUPPORTED", "dirents", block.offset, `more than ${MAX_DIRENTS} in one image`);
      for (let i = 0; i < block.count; i++) this.#checkEntry(dir, i, names);
      if (this.#strict && !block.isPaddingZero)
        this.#problems.add(place, "directory block", block.offset, "the bytes after the last name are not all zero");
    }
    for (const dots of [".", ".."] as const)
      if (!names.has(dots)) this.#problems.add(place, "erofs_dirent", inode.offset, `the directory has no ${dots}`);
  }

  #checkEntry(dir: Seen, i: number, names: NameOrder): void {
    const block = this.#block;
    const offset = block.direntOffset(i);
    const name = this.#problems.attempt(dir.place, () => block.name(i));
    const nid = this.#problems.attempt(dir.place, () => block.nid(i));
    if (name === undefined || nid === undefined) return;
    const disorder = names.add(name);
    if (disorder !== null) this.#problems.add({ nid, name, parent: dir.place }, "erofs_dirent name", offset, disorder);
    if (this.#strict && block.reserved(i) !== 0)
      this.#problems.add(dir.place, "erofs_dirent.reserved", offset, `found ${block.reserved(i)}, expected zero`);
    const mode = this.#followEntry(dir, name, nid, offset);
    if (mode === undefined || block.fileType(i) === fileTypeOf(mode)) return;
    this.#problems.add(
      { nid, name, parent: dir.place },
      "erofs_dirent.fileType",
      offset + Dirent.at.fileType,
      `found ${block.fileType(i)}, expected ${fileTypeOf(mode)} for mode 0${mode.toString(8)}`,
    );
  }

  /** Meets the inode an entry names, counts the link, and returns its mode if it is readable. */
  #followEntry(dir: Seen, name: ByteString, nid: number, offset: number): number | undefined {
    const place: Place = { nid, name, parent: dir.place };
    if (name === "." || name === "..") {
      const expected = name === "." ? dir.place.nid : (dir.place.parent ?? dir.place).nid;
      if (nid === expected) return dir.inode.mode;
      this.#problems.add(place, "erofs_dirent.nid", offset, `found ${nid} for ${name}, expected ${expected}`);
      return undefined;
    }
    const known = this.#seen.get(nid);
    const seen = known ?? this.#meet(place);
    if (seen === undefined) return undefined;
    if (!seen.inode.isDirectory) seen.links++;
    else if (known === undefined) dir.links++;
    else
      this.#problems.add(place, "erofs_dirent.nid", offset, `found ${nid}, a directory that has another name already`);
    return seen.inode.mode;
  }

  #checkLinks(): void {
    for (const { place, inode, links } of this.#seen.values()) {
      if (inode.nlink !== links)
        this.#problems.add(place, "erofs_inode.nlink", inode.offset, `found ${inode.nlink}, its names make ${links}`);
      if (place.parent !== null) this.#stats.names += inode.isDirectory ? 1 : links;
    }
    const { inos } = this.#image.superblock;
    if (this.#strict && inos !== this.#stats.inodes)
      this.#problems.add(null, "erofs_super_block.inos", 0, `found ${inos}, the root leads to ${this.#stats.inodes}`);
  }
}

/** Whether the names of a directory come in byte order, each once. */
class NameOrder {
  #last: ByteString = "";
  #dots = 0;

  /** What is wrong with the place of `name`, or null. */
  add(name: ByteString): string | null {
    const last = this.#last;
    this.#last = name;
    if (name === ".") this.#dots |= 1;
    else if (name === "..") this.#dots |= 2;
    if (last < name) return null;
    return last === name ? "the name comes twice" : "the name is out of byte order";
  }

  has(dots: "." | ".."): boolean {
    return (this.#dots & (dots === "." ? 1 : 2)) !== 0;
  }
}
