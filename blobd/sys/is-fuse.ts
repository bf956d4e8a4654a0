import { statfsSync } from "node:fs";

/** Linux include/uapi/linux/magic.h. */
const FUSE_SUPER_MAGIC = 0x65735546;

/** Whether a file is on a FUSE file system. @throws Error of the file system */
export function isFuse(path: string): boolean {
  return statfsSync(path).type === FUSE_SUPER_MAGIC;
}
