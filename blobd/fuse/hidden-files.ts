import { setU53 } from "../../formats/bytes/index.ts";
import { Attr, ROOT_ID } from "../../formats/fuse/index.ts";
import { S_IFDIR, S_IFREG } from "../../formats/tree/index.ts";
import { PAGE_SIZE } from "../sys/index.ts";
import type { Validity } from "./replies.ts";
import type { FuseRequest } from "./request.ts";

/** What file systems have in common that are mounted where nobody sees them: one folder of files that this process opens by name. */

/** Nothing of them changes while they are mounted. */
export const FOR_EVER: Validity = { seconds: 1_000_000_000, nanos: 0 };

/** Attributes of a node: of the folder, or of a file that says that it has so many bytes. @param at in the reply */
export function putHiddenAttributes({ out }: FuseRequest, at: number, nodeId: number, fileBytes: number): void {
  for (let i = 0; i < Attr.size; i += 4) out.setUint32(at + i, 0, true);
  const isRoot = nodeId === ROOT_ID;
  setU53(out, at + Attr.at.ino, nodeId);
  setU53(out, at + Attr.at.size, isRoot ? 0 : fileBytes);
  out.setUint32(at + Attr.at.mode, isRoot ? S_IFDIR | 0o700 : S_IFREG | 0o600, true);
  out.setUint32(at + Attr.at.nlink, 1, true);
  out.setUint32(at + Attr.at.blksize, PAGE_SIZE, true);
}
