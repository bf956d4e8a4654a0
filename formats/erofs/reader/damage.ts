/** Damage to images, for tests. */
import type { Random } from "../../bytes/testing.ts";
import { open } from "./test-images.ts";

/** Values that tend to break arithmetic. */
const NASTY = [0, 1, 0x7f, 0x80, 0xfe, 0xff];

/** Changes one to eight bytes, mostly where they matter: superblock, device table, inodes and what follows them. */
export function damage(image: Buffer, random: Random): void {
  const places = inodeOffsets(image);
  for (let flips = 1 + random.below(8); flips > 0; flips--) {
    const at = random.chance(15)
      ? 1028 + random.below(400)
      : random.chance(80)
        ? random.of(places) + random.below(random.of([32, 64, 128]))
        : random.below(image.length);
    if (at >= image.length) continue;
    image[at] = random.chance(50) ? random.of(NASTY) : random.below(256);
  }
}

/** Where inodes and directory blocks lie, found through the still sound image. */
function inodeOffsets(image: Buffer): number[] {
  const reader = open(image);
  const offsets: number[] = [];
  const todo = [reader.rootNid];
  for (let nid = todo.pop(); nid !== undefined; nid = todo.pop()) {
    const inode = reader.inode(nid);
    offsets.push(inode.offset, inode.tailOffset);
    if (!inode.isDirectory) continue;
    if (inode.size > 4096) offsets.push(inode.u * 4096);
    for (const { name, nid } of reader.readdir(inode)) if (name !== "." && name !== "..") todo.push(nid);
  }
  return offsets;
}
