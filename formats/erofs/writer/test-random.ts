/** Random trees for property tests; the same seed gives the same tree. */

import type { ByteString } from "../../bytes/index.ts";
import { Random } from "../../bytes/testing.ts";
import {
  BLOCK_SIZE,
  type Extent,
  HOLE,
  Inode,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  setXattr,
} from "../../tree/index.ts";
import { isMisreadAfter } from "./chunks.ts";
import { BlobsInMemory, noise, posixAcl, type Sample, USUAL_TIME } from "./test-trees.ts";

/** A tree of up to about 300 inodes over three blobs. */
export function randomSample(seed: number): Sample {
  return new Generator(new Random(seed)).sample();
}

class Generator {
  readonly #random: Random;
  readonly #blobs = new BlobsInMemory();
  readonly #stored: Extent[];
  readonly #linkable: Inode[] = [];
  readonly #xattrPool: [ByteString, ByteString][];
  #left: number;

  constructor(random: Random) {
    this.#random = random;
    this.#left = 5 + random.below(300);
    this.#stored = [0, 1, 2].map((blob) => this.#blobs.add(blob, noise(random.below(1000), 32 * BLOCK_SIZE)));
    this.#xattrPool = Array.from({ length: 8 }, () => this.#newXattr());
  }

  sample(): Sample {
    const root = this.#decorated(new Inode(S_IFDIR | 0o755));
    this.#fill(root, 0);
    return this.#blobs.sample(root);
  }

  #fill(dir: Inode, depth: number): void {
    const random = this.#random;
    const entries = random.chance(10) ? 100 : random.below(20);
    const longNames = random.chance(30);
    for (let i = 0; i < entries && this.#left > 0; i++) {
      const name = random.bytes(longNames ? 200 + random.below(56) : 1 + random.below(12)).replaceAll("/", "_");
      if (name === "." || name === ".." || dir.children!.has(name)) continue;
      if (this.#linkable.length > 0 && random.chance(5)) {
        dir.children!.set(name, random.of(this.#linkable));
        continue;
      }
      this.#left--;
      const child = this.#decorated(depth < 6 && random.chance(25) ? new Inode(S_IFDIR | 0o700) : this.#nonDirectory());
      dir.children!.set(name, child);
      if (child.children !== null) this.#fill(child, depth + 1);
      else this.#linkable.push(child);
    }
  }

  #nonDirectory(): Inode {
    const random = this.#random;
    const type = random.of([S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO]);
    const inode = new Inode(type | random.below(0o10000));
    if (type === S_IFREG) this.#giveContent(inode);
    else if (type === S_IFLNK) inode.target = random.bytes(1 + random.below(random.chance(10) ? 4095 : 80));
    else if (type !== S_IFIFO) {
      inode.rdevMajor = random.below(0x1000);
      inode.rdevMinor = random.below(0x100000);
    }
    return inode;
  }

  #giveContent(inode: Inode): void {
    const random = this.#random;
    if (random.chance(15)) {
      inode.inlineData = noise(random.below(100), random.below(4200));
      inode.size = inode.inlineData.length;
      return;
    }
    const extents: Extent[] = [];
    let blocks = 0;
    for (let i = random.of([0, 1, 1, 1, 2, 5, 20]); i > 0; i--) {
      const extent = this.#extent();
      const previous = extents.findLast(({ blob }) => blob !== HOLE);
      if (previous !== undefined && isMisreadAfter(previous, extent)) continue;
      extents.push(extent);
      blocks += extent.blocks;
    }
    inode.extents = extents;
    inode.size = blocks === 0 ? 0 : blocks * BLOCK_SIZE - random.of([0, 1, random.below(BLOCK_SIZE)]);
  }

  #extent(): Extent {
    const random = this.#random;
    const blocks = random.chance(50) ? 2 ** random.below(5) : 1 + random.below(20);
    if (random.chance(20)) return { blob: HOLE, startBlock: 0, blocks };
    const stored = random.of(this.#stored);
    return { ...stored, startBlock: stored.startBlock + random.below(stored.blocks - blocks + 1), blocks };
  }

  #decorated(inode: Inode): Inode {
    const random = this.#random;
    inode.mtimeSeconds = random.chance(70) ? USUAL_TIME : random.below(2 ** 34) - 2 ** 33;
    inode.mtimeNanos = random.chance(80) ? 0 : random.below(1_000_000_000);
    inode.uid = random.chance(80) ? 0 : random.below(2 ** 32);
    inode.gid = random.chance(80) ? 0 : random.below(70_000);
    const count = random.chance(75) ? 0 : random.below(12);
    for (let i = 0; i < count; i++) {
      const [name, value] = random.chance(60) ? random.of(this.#xattrPool) : this.#newXattr();
      if (isAllowed(name, inode.type)) setXattr(inode, name, value);
    }
    return inode;
  }

  #newXattr(): [ByteString, ByteString] {
    const random = this.#random;
    if (random.chance(10))
      return [
        "system.posix_acl_access",
        posixAcl([1, random.below(8), 0xffffffff], [4, 4, 0xffffffff], [32, 0, 0xffffffff]),
      ];
    const prefix = random.of(["user.", "trusted.", "security."]);
    const name = random.bytes(1 + random.below(30), 0x61, 0x7a);
    return [prefix + name, random.bytes(random.below(random.chance(5) ? 9000 : 60), 0)];
  }
}

/** What the kernel lets a reader see: user attributes of files and directories, ACLs not of links. */
function isAllowed(name: ByteString, type: number): boolean {
  if (type === S_IFREG || type === S_IFDIR) return true;
  return !name.startsWith("user.") && !name.startsWith("system.");
}
