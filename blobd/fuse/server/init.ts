import {
  FUSE_MAJOR,
  FUSE_MIN_MINOR,
  FUSE_MINOR,
  InitFlag,
  InitFlag2,
  InitIn,
  InitOut,
} from "../../../formats/fuse/index.ts";
import type { FileSystem } from "../filesystem.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import type { FuseSession } from "../session.ts";
import { EPROTO } from "./errors.ts";

/** Most bytes of a WRITE's data, and of a READ's. */
export const MAX_WRITE_BYTES = 1 << 20;
const MAX_PAGES = MAX_WRITE_BYTES / 4096;
/** How far the kernel may read ahead; it does not go beyond its own limit. */
const MAX_READAHEAD_BYTES = 1 << 20;
/** Requests in the background (readahead, writeback, asynchronous direct I/O) before the kernel holds back. */
const MAX_BACKGROUND = 128;
const CONGESTION_THRESHOLD = 96;
/** log2 of the alignment of DAX mappings: Linux maps ranges of 2 MiB. */
const MAP_ALIGNMENT_BITS = 21;

/** What the server does by itself, for whatever file system. */
const SERVER_FLAGS =
  InitFlag.ASYNC_READ |
  InitFlag.BIG_WRITES |
  InitFlag.HAS_IOCTL_DIR |
  InitFlag.ASYNC_DIO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.MAX_PAGES |
  InitFlag.SETXATTR_EXT |
  InitFlag.INIT_EXT;

/** What needs the DAX window. */
const WINDOW_FLAGS = InitFlag.MAP_ALIGNMENT;
const WINDOW_FLAGS2 = InitFlag2.HAS_INODE_DAX;

/** What no transport here does, and what belongs to the transport or the window: not the file system's to ask for. */
const REFUSED_FLAGS = InitFlag.SPLICE_WRITE | InitFlag.SPLICE_MOVE | InitFlag.SPLICE_READ | InitFlag.MAP_ALIGNMENT;
const REFUSED_FLAGS2 = InitFlag2.OVER_IO_URING | InitFlag2.REQUEST_TIMEOUT;

/**
 * Answers INIT: agrees on a version and on what both sides do, and starts the session.
 * @returns 0 or a negative error number.
 */
export function negotiate(
  request: FuseRequest,
  fileSystem: FileSystem,
  session: FuseSession,
  hasWindow: boolean,
  log: (line: string) => void,
): number {
  const { in: dv } = request;
  const major = dv.getUint32(IN_ARGS + InitIn.at.major, true);
  const minor = dv.getUint32(IN_ARGS + InitIn.at.minor, true);
  if (major < FUSE_MAJOR || (major === FUSE_MAJOR && minor < FUSE_MIN_MINOR)) {
    log(`the kernel speaks FUSE ${major}.${minor}; ${FUSE_MAJOR}.${FUSE_MIN_MINOR} (Linux 5.17) is needed`);
    return -EPROTO;
  }
  request.out.setUint32(OUT_ARGS + InitOut.at.major, FUSE_MAJOR, true);
  request.out.setUint32(OUT_ARGS + InitOut.at.minor, FUSE_MINOR, true);
  clear(request, OUT_ARGS + InitOut.at.maxReadahead, OUT_ARGS + InitOut.size);
  request.outputBytes = InitOut.size;
  // A newer major version: the kernel reads ours in the reply, and sends INIT again if it can speak it.
  if (major > FUSE_MAJOR) return 0;

  const flags = dv.getUint32(IN_ARGS + InitIn.at.flags, true);
  const isExtended = (flags & InitFlag.INIT_EXT) !== 0 && request.extensionsAt >= IN_ARGS + InitIn.at.unused;
  const flags2 = isExtended ? dv.getUint32(IN_ARGS + InitIn.at.flags2, true) : 0;
  const maxReadahead = dv.getUint32(IN_ARGS + InitIn.at.maxReadahead, true);

  if (session.isStarted) {
    session.end();
    fileSystem.destroy();
  }
  const agreed = Math.min(minor, FUSE_MINOR);
  const wanted = fileSystem.init({ minor: agreed, flags, flags2, maxReadahead });
  const grantedFlags = flags & ((wanted.flags & ~REFUSED_FLAGS) | SERVER_FLAGS | (hasWindow ? WINDOW_FLAGS : 0));
  const grantedFlags2 = flags2 & wanted.flags2 & ~REFUSED_FLAGS2 & (hasWindow ? ~0 : ~WINDOW_FLAGS2);
  writeReply(
    request,
    grantedFlags,
    grantedFlags2,
    Math.min(maxReadahead, wanted.maxReadahead ?? MAX_READAHEAD_BYTES, MAX_READAHEAD_BYTES),
  );
  session.start(agreed, grantedFlags, grantedFlags2);
  return 0;
}

function writeReply(request: FuseRequest, flags: number, flags2: number, maxReadahead: number): void {
  const { out } = request;
  const { at } = InitOut;
  out.setUint32(OUT_ARGS + at.maxReadahead, maxReadahead, true);
  out.setUint32(OUT_ARGS + at.flags, flags, true);
  out.setUint32(OUT_ARGS + at.flags2, flags2, true);
  out.setUint16(OUT_ARGS + at.maxBackground, MAX_BACKGROUND, true);
  out.setUint16(OUT_ARGS + at.congestionThreshold, CONGESTION_THRESHOLD, true);
  out.setUint32(OUT_ARGS + at.maxWrite, MAX_WRITE_BYTES, true);
  out.setUint32(OUT_ARGS + at.timeGran, 1, true);
  out.setUint16(OUT_ARGS + at.maxPages, MAX_PAGES, true);
  if ((flags & InitFlag.MAP_ALIGNMENT) !== 0) out.setUint16(OUT_ARGS + at.mapAlignment, MAP_ALIGNMENT_BITS, true);
  // One file system may be stacked on files that FUSE passes through, as on any other.
  if ((flags2 & InitFlag2.PASSTHROUGH) !== 0) out.setUint32(OUT_ARGS + at.maxStackDepth, 1, true);
}

function clear(request: FuseRequest, from: number, to: number): void {
  for (let at = from; at < to; at++) request.out.setUint8(at, 0);
}
