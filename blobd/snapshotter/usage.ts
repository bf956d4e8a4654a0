import { lstat, readdir } from "node:fs/promises";
import type { Usage } from "./state/index.ts";

/** Unit of st_blocks, in bytes: stat(2). */
const STAT_BLOCK_BYTES = 512;
/** Files looked at at once. */
const BATCH = 64;
const SLASH = Buffer.from("/");

/**
 * What a directory and all below it take on the disk, as du(1) and containerd count it: an inode with several names
 * once. Files that go while it looks are not counted.
 */
export async function diskUsage(directory: string): Promise<Usage> {
  /** Inodes that may come again. */
  const linked = new Set<number>();
  let inodes = 0;
  let sizeBytes = 0;
  const look = async (path: Buffer): Promise<Buffer | null> => {
    const found = await lstat(path).catch(() => null);
    if (found === null || linked.has(found.ino)) return null;
    if (found.isDirectory() || found.nlink > 1) linked.add(found.ino);
    inodes++;
    sizeBytes += found.blocks * STAT_BLOCK_BYTES;
    return found.isDirectory() ? path : null;
  };
  const open = [await look(Buffer.from(directory))];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    if (folder === null) continue;
    const prefix = Buffer.concat([folder, SLASH]);
    const names = await readdir(folder, { encoding: "buffer" }).catch(() => []);
    for (let at = 0; at < names.length; at += BATCH) {
      const batch = names.slice(at, at + BATCH);
      open.push(...(await Promise.all(batch.map((name) => look(Buffer.concat([prefix, name]))))));
    }
  }
  return { sizeBytes, inodes };
}
