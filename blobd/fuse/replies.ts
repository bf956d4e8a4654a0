import { setU53 } from "../../formats/bytes/index.ts";
import { AttrOut, EntryOut, LseekOut, OpenOut, StatxOut, WriteOut } from "../../formats/fuse/index.ts";
import { type FuseRequest, OUT_ARGS } from "./request.ts";

/**
 * Replies written in place. Each writes every byte of its structure but the attributes (`struct fuse_attr`), sets
 * `outputBytes` and returns where in `output` the attributes belong, or 0, which is the handler's status.
 *
 * Times of validity are in nanoseconds below a second and whole seconds, as the protocol has them.
 */

/** How long the kernel may use what it was told without asking again. */
export interface Validity {
  readonly seconds: number;
  readonly nanos: number;
}

/** The reply of LOOKUP, MKDIR, MKNOD, SYMLINK, LINK. @returns where the attributes go. */
export function replyEntry(
  request: FuseRequest,
  nodeId: number,
  generation: number,
  entry: Validity,
  attr: Validity,
): number {
  request.outputBytes = EntryOut.size;
  return putEntry(request.out, OUT_ARGS, nodeId, generation, entry, attr);
}

/** A `struct fuse_entry_out` at `at`. @returns where its attributes go. */
export function putEntry(
  out: DataView,
  at: number,
  nodeId: number,
  generation: number,
  entry: Validity,
  attr: Validity,
): number {
  setU53(out, at + EntryOut.at.nodeid, nodeId);
  setU53(out, at + EntryOut.at.generation, generation);
  setU53(out, at + EntryOut.at.entryValid, entry.seconds);
  setU53(out, at + EntryOut.at.attrValid, attr.seconds);
  out.setUint32(at + EntryOut.at.entryValidNsec, entry.nanos, true);
  out.setUint32(at + EntryOut.at.attrValidNsec, attr.nanos, true);
  return at + EntryOut.at.attr;
}

/** The reply of GETATTR and SETATTR. @returns where the attributes go. */
export function replyAttr(request: FuseRequest, attr: Validity): number {
  const { out } = request;
  setU53(out, OUT_ARGS + AttrOut.at.attrValid, attr.seconds);
  out.setUint32(OUT_ARGS + AttrOut.at.attrValidNsec, attr.nanos, true);
  out.setUint32(OUT_ARGS + AttrOut.at.dummy, 0, true);
  request.outputBytes = AttrOut.size;
  return OUT_ARGS + AttrOut.at.attr;
}

/** The reply of STATX. @returns where the `struct fuse_statx` goes, which is laid out as `struct statx`. */
export function replyStatx(request: FuseRequest, attr: Validity): number {
  const { out } = request;
  setU53(out, OUT_ARGS + StatxOut.at.attrValid, attr.seconds);
  out.setUint32(OUT_ARGS + StatxOut.at.attrValidNsec, attr.nanos, true);
  for (let at = StatxOut.at.flags; at < StatxOut.at.stat; at += 4) out.setUint32(OUT_ARGS + at, 0, true);
  request.outputBytes = StatxOut.size;
  return OUT_ARGS + StatxOut.at.stat;
}

/** The reply of OPEN and OPENDIR; of CREATE and TMPFILE when `replyEntry` has been called before. */
export function replyOpen(request: FuseRequest, fh: number, flags: number, backingId = 0): number {
  const { out } = request;
  const at = OUT_ARGS + request.outputBytes;
  setU53(out, at + OpenOut.at.fh, fh);
  out.setUint32(at + OpenOut.at.openFlags, flags, true);
  out.setInt32(at + OpenOut.at.backingId, backingId, true);
  request.outputBytes += OpenOut.size;
  return 0;
}

/** The reply of WRITE, and of COPY_FILE_RANGE, which takes less than 4 GiB at once. */
export function replyWritten(request: FuseRequest, bytes: number): number {
  request.out.setUint32(OUT_ARGS + WriteOut.at.size, bytes, true);
  request.out.setUint32(OUT_ARGS + WriteOut.at.padding, 0, true);
  request.outputBytes = WriteOut.size;
  return 0;
}

/** The reply of LSEEK, and of COPY_FILE_RANGE_64: one number. */
export function replyOffset(request: FuseRequest, offset: number): number {
  setU53(request.out, OUT_ARGS + LseekOut.at.offset, offset);
  request.outputBytes = LseekOut.size;
  return 0;
}
