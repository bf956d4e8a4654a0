/** Random trees for property tests, from a seed. */
import { Random } from "../../bytes/testing.ts";
import {
  type BlobRef,
  type Extent,
  HOLE,
  Inode,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  setXattr,
  type Tree,
} from "../../tree/index.ts";
import { isMisreadAfter } from "../writer/index.ts";

const ALL_BYTES = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).join("");
const NAME_BYTES = ALL_BYTES.replace("/", "");
const BLOBS: readonly BlobRef[] = [
  { digestHex: "01".repeat(32), blocks: 5000 },
  { digestHex: "ef".repeat(32), blocks: 100 },
  { digestHex: "23".repeat(32), blocks: 1 },
];

/** A tree of up to about `maxInodes` inodes of every kind, with hard links, xattrs and extents over three blobs. */
export function randomTree(seed: number, maxInodes: number): Tree {
  const random = new Random(seed);
  const root = decorate(random, new Inode(S_IFDIR | 0o755));
  const directories = [root];
  const files: Inode[] = [];
  for (let left = random.below(maxInodes); left > 0; left--) {
    const parent = random.of(random.chance(50) ? directories : directories.slice(-5)).children!;
    const name = random.chance(80) ? random.word(20, "abcxyz.-_0") : random.word(255, NAME_BYTES);
    if (name === "." || name === ".." || parent.has(name)) continue;
    const inode = random.chance(10) && files.length > 0 ? random.of(files) : randomInode(random);
    parent.set(name, inode);
    if (inode.children === null) files.push(inode);
    else directories.push(inode);
  }
  return { root, blobs: BLOBS };
}

function randomInode(random: Random): Inode {
  const type = random.of([
    S_IFREG,
    S_IFREG,
    S_IFREG,
    S_IFREG,
    S_IFDIR,
    S_IFDIR,
    S_IFLNK,
    S_IFLNK,
    S_IFCHR,
    S_IFBLK,
    S_IFIFO,
    S_IFSOCK,
  ]);
  const inode = decorate(random, new Inode(type | random.below(0o10000)));
  switch (type) {
    case S_IFREG:
      if (random.chance(20)) addInlineData(random, inode);
      else addExtents(random, inode);
      break;
    case S_IFLNK:
      inode.target = random.word(random.chance(90) ? 60 : 4095, ALL_BYTES);
      break;
    case S_IFCHR:
    case S_IFBLK:
      inode.rdevMajor = random.below(0x1000);
      inode.rdevMinor = random.below(0x100000);
  }
  return inode;
}

/** Owner, time and xattrs; most inodes are alike, as in real trees. */
function decorate(random: Random, inode: Inode): Inode {
  if (random.chance(30)) inode.uid = random.of([1, 1000, 65535, 65536, 0xffffffff]);
  if (random.chance(30)) inode.gid = random.of([1, 1000, 65535, 65536, 0xffffffff]);
  if (random.chance(50)) {
    inode.mtimeSeconds = random.of([1, -1, 1_700_000_000, 2 ** 31, 2 ** 32, -(2 ** 40)]);
    inode.mtimeNanos = random.below(1e9);
  }
  if (random.chance(10)) setXattr(inode, "security.capability", "\x01\0\0\x02\xff\0");
  while (random.chance(10)) {
    const prefix = random.of(["user.", "trusted.", "security."]);
    setXattr(inode, prefix + random.word(30, ALL_BYTES), random.word(random.chance(90) ? 20 : 3000, ALL_BYTES));
  }
  if (random.chance(5)) setXattr(inode, "system.posix_acl_access", "\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff");
  return inode;
}

function addInlineData(random: Random, inode: Inode): void {
  const content = random.word(random.chance(80) ? 300 : 9000, ALL_BYTES);
  inode.inlineData = Buffer.from(content, "latin1");
  inode.size = content.length;
}

function addExtents(random: Random, inode: Inode): void {
  const extents: Extent[] = [];
  let blocks = 0;
  while (random.chance(60)) {
    const blob = random.of([0, 0, 0, 1, HOLE]);
    const length = 1 + random.below(random.of([1, 4, 64]));
    const startBlock = blob === HOLE ? 0 : random.below(BLOBS[blob]!.blocks - length + 1);
    const last = extents.at(-1);
    // Neighbours that Linux misreads are refused by the writer.
    const stored = extents.findLast((extent) => extent.blob !== HOLE);
    if (stored !== undefined && isMisreadAfter(stored, { blob, startBlock, blocks: length })) continue;
    const follows = last?.blob === blob && (blob === HOLE || last.startBlock + last.blocks === startBlock);
    // Runs that lie contiguous come back as one, so they are made as one.
    if (follows) extents[extents.length - 1] = { ...last!, blocks: last!.blocks + length };
    else extents.push({ blob, startBlock, blocks: length });
    blocks += length;
  }
  inode.extents = extents;
  if (blocks > 0) inode.size = (blocks - 1) * 4096 + 1 + random.below(4096);
}
