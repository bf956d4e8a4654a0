import { constants } from "node:os";
import { setU53 } from "../../../formats/bytes/index.ts";
import { Attr, InitFlag, InitFlag2, OpenReplyFlag } from "../../../formats/fuse/index.ts";
import type { WantedInit } from "../filesystem.ts";
import { replyOpen } from "../replies.ts";
import type { FuseRequest } from "../request.ts";

const S_IFDIR = 0o040000;
/** What a file system may leave out when there is nothing to do. */
export const OPENED = [
  "open",
  "opendir",
  "flush",
  "release",
  "fsync",
  "releasedir",
  "fsyncdir",
  "access",
  "syncfs",
] as const;
const { EOPNOTSUPP } = constants.errno;

/** What is agreed on at INIT: what every kind of mount can live with. */
export function wanted(hasWindow: boolean): WantedInit {
  return {
    flags:
      InitFlag.ATOMIC_O_TRUNC |
      InitFlag.HANDLE_KILLPRIV_V2 |
      InitFlag.DO_READDIRPLUS |
      InitFlag.READDIRPLUS_AUTO |
      InitFlag.AUTO_INVAL_DATA |
      InitFlag.SUBMOUNTS,
    flags2: InitFlag2.NO_EXPORT_SUPPORT | (hasWindow ? InitFlag2.HAS_INODE_DAX : 0),
  };
}

/** What is answered for a mount whose file system has no such operation; others have it, so the kernel must go on asking. */
export function without(request: FuseRequest, name: string): number {
  if (name === "open") return replyOpen(request, 0, OpenReplyFlag.KEEP_CACHE | OpenReplyFlag.NOFLUSH);
  if (name === "opendir") return replyOpen(request, 0, OpenReplyFlag.KEEP_CACHE | OpenReplyFlag.CACHE_DIR);
  return (OPENED as readonly string[]).includes(name) ? 0 : -EOPNOTSUPP;
}

/** Attributes of a pseudo directory, at `at`. */
export function putDirectory({ out, output }: FuseRequest, at: number, id: number): void {
  output.bytes.fill(0, at, at + Attr.size);
  setU53(out, at + Attr.at.ino, id);
  out.setUint32(at + Attr.at.mode, S_IFDIR | 0o755, true);
  out.setUint32(at + Attr.at.nlink, 2, true);
  out.setUint32(at + Attr.at.blksize, 4096, true);
}
