import { chmodSync, chownSync, utimesSync } from "node:fs";
import type { RootAttributes } from "../images/index.ts";

/** The root directory of an overlay is its upper one: it starts as the image has it. */
export function copyRoot({ mode, uid, gid, mtime }: RootAttributes, to: string): void {
  chownSync(to, uid, gid);
  chmodSync(to, mode & 0o7777);
  utimesSync(to, mtime, mtime);
}
