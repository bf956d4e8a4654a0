import { chmodSync, chownSync, lstatSync, utimesSync } from "node:fs";

/** The root directory of an overlay is its upper one: it starts as the image has it. */
export function copyRoot(from: string, to: string): void {
  const { mode, uid, gid, mtime } = lstatSync(from);
  chownSync(to, uid, gid);
  chmodSync(to, mode & 0o7777);
  utimesSync(to, mtime, mtime);
}
