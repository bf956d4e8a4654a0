import { getU53 } from "../../../formats/bytes/index.ts";
import { Dirent, direntBytes, direntplusBytes, EntryOut, ReadIn } from "../../../formats/fuse/index.ts";
import { allocAligned, errno, type NativeBuffer } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { FileKind } from "./files.ts";
import { EBADF, ENOENT, ENOTDIR, ESTALE, S_IFDIR } from "./linux.ts";
import { putEntry } from "./reply.ts";
import { File } from "./state.ts";
import type { Volume } from "./volume.ts";

/** Entries that are read from the host at a time, in bytes. */
const BATCH_BYTES = 32 << 10;
/** `struct linux_dirent64`: inode number, offset of the next, length, type, name. */
const Linux = { ino: 0, off: 8, reclen: 16, type: 18, name: 19 } as const;
/** Directories of which a thread remembers entries that did not fit into a reply. */
const BATCHES = 4;
const DOT = 0x2e;
const SEEK_SET = 0;

/** Entries of one directory as the host gave them, of which some are still to be told. */
class Batch {
  readonly memory: NativeBuffer = allocAligned(BATCH_BYTES);
  readonly dv = new DataView(this.memory.bytes.buffer, this.memory.bytes.byteOffset, BATCH_BYTES);
  /** The open directory they are of, or less than 0: the node that was not opened. */
  fh = 0;
  /** In place of an open directory's, for one that was not opened. */
  fd = -1;
  /** Bytes that are in it, and where those start that were not told. */
  end = 0;
  at = 0;
  /** The offset at which the first one that was not told lies. */
  low = 0;
  high = 0;
}

/** A thread's batches. */
export class Batches {
  readonly #all: readonly Batch[] = Array.from({ length: BATCHES }, () => new Batch());
  #next = 0;

  /** The batch of this open directory: what is left of its last reading, or an empty one. */
  of(fh: number): Batch {
    for (const batch of this.#all) if (batch.fh === fh) return batch;
    const batch = this.#all[this.#next]!;
    this.#next = (this.#next + 1) % BATCHES;
    batch.fh = fh;
    batch.at = 0;
    batch.end = 0;
    return batch;
  }
}

/** READDIR, and READDIRPLUS, which tells attributes too and counts a lookup of each entry but `.` and `..`. */
export function readdir(volume: Volume, request: FuseRequest, plus: boolean): number {
  const { in: dv } = request;
  const { files, nodes } = volume;
  const fh = getU53(dv, IN_ARGS + ReadIn.at.fh, "fuse_read_in.fh");
  const limit = Math.min(dv.getUint32(IN_ARGS + ReadIn.at.size, true), request.outputLimit);
  const parent = nodes.pin(request.nodeId);
  if (parent === 0) return -ESTALE;
  if (fh === 0 && volume.settings.noOpen) {
    const status = readUnopened(volume, request, parent, limit, plus);
    nodes.unpin(parent);
    return status;
  }
  const file = files.pin(fh, FileKind.DIRECTORY, request.nodeId);
  let status = -EBADF;
  if (file !== 0) {
    status = fillReply(volume, request, fh, file, parent, limit, plus);
    files.unpin(file);
  }
  nodes.unpin(parent);
  return status;
}

/** The other side has not opened the directory, as it was told. */
function readUnopened(volume: Volume, request: FuseRequest, slot: number, limit: number, plus: boolean): number {
  if (volume.nodes.typeOf(slot) !== S_IFDIR) return -ENOTDIR;
  const fd = volume.data.of(slot, request.nodeId);
  if (fd < 0) return fd;
  volume.batches.of(-request.nodeId).fd = fd;
  return fillReply(volume, request, -request.nodeId, 0, slot, limit, plus);
}

/** @param file the open directory's slot, 0 for one that was not opened */
function fillReply(
  volume: Volume,
  request: FuseRequest,
  fh: number,
  file: number,
  parent: number,
  limit: number,
  plus: boolean,
): number {
  const { in: dv } = request;
  const batch = volume.batches.of(fh);
  const low = dv.getInt32(IN_ARGS + ReadIn.at.offset, true);
  const high = dv.getInt32(IN_ARGS + ReadIn.at.offset + 4, true);
  if (batch.at >= batch.end || batch.low !== low || batch.high !== high) {
    batch.at = 0;
    batch.end = 0;
    batch.low = low;
    batch.high = high;
  }
  let told = 0;
  for (;;) {
    if (batch.at >= batch.end) {
      const status = readBatch(volume, batch, file);
      // What was told before an error is told; the error comes again.
      if (status < 0) return told > 0 ? finish(request, told) : status;
      if (batch.end === 0) break;
    }
    const nameBytes = nameLength(batch);
    const bytes = plus ? direntplusBytes(nameBytes) : direntBytes(nameBytes);
    if (told + bytes > limit) break;
    if (putDirent(volume, request, batch, OUT_ARGS + told, nameBytes, parent, plus)) told += bytes;
    batch.low = batch.dv.getInt32(batch.at + Linux.off, true);
    batch.high = batch.dv.getInt32(batch.at + Linux.off + 4, true);
    batch.at += batch.dv.getUint16(batch.at + Linux.reclen, true);
  }
  return finish(request, told);
}

function finish(request: FuseRequest, bytes: number): number {
  request.outputBytes = bytes;
  return 0;
}

/** Reads the entries at the batch's offset. @returns 0, or a negative error number */
function readBatch(volume: Volume, batch: Batch, file: number): number {
  const { files, calls } = volume;
  const { words } = volume.state;
  const at = files.at(file);
  const fd = file === 0 ? batch.fd : files.fdOf(file);
  // Of one that was not opened, streams share the descriptor.
  if (file === 0 || words[at + File.positionLow] !== batch.low || words[at + File.positionHigh] !== batch.high) {
    // An offset is a hash with all its 64 bits on some file systems.
    const offset = (BigInt(batch.high >>> 0) << 32n) | BigInt(batch.low >>> 0);
    if (calls.lseek(fd, offset as unknown as number, SEEK_SET) < 0) return -errno();
  }
  const bytes = calls.getdents64(fd, batch.memory.address, BATCH_BYTES);
  batch.at = 0;
  batch.end = Math.max(bytes, 0);
  if (bytes < 0) return -errno();
  if (bytes === 0 || file === 0) return 0;
  let last = 0;
  for (let next = 0; next < bytes; next += batch.dv.getUint16(next + Linux.reclen, true)) last = next;
  words[at + File.positionLow] = batch.dv.getInt32(last + Linux.off, true);
  words[at + File.positionHigh] = batch.dv.getInt32(last + Linux.off + 4, true);
  return 0;
}

/** Length of the current entry's name: it is padded to 8 bytes with zeroes. */
function nameLength(batch: Batch): number {
  const { bytes } = batch.memory;
  const start = batch.at + Linux.name;
  let end = start;
  while (bytes[end] !== 0) end++;
  return end - start;
}

/** @returns false when there is nothing to tell: the entry has gone meanwhile */
function putDirent(
  volume: Volume,
  request: FuseRequest,
  batch: Batch,
  at: number,
  nameBytes: number,
  parent: number,
  plus: boolean,
): boolean {
  const { out } = request;
  const { dv, memory } = batch;
  const output = request.output.bytes;
  let dirent = at;
  let mode = dv.getUint8(batch.at + Linux.type);
  if (plus) {
    dirent = at + EntryOut.size;
    if (isDots(batch, nameBytes)) output.fill(0, at, dirent);
    else {
      const slot = volume.lookup(parent, memory.address + batch.at + Linux.name);
      if (slot > 0) {
        // A mapping that could not follow is told when the file is used.
        putEntry(volume, out, at, slot, parent);
        mode = volume.stat.mode >>> 12;
      } else if (slot === -ENOENT) return false;
      else output.fill(0, at, dirent);
    }
  }
  out.setUint32(dirent + Dirent.at.ino, dv.getUint32(batch.at + Linux.ino, true), true);
  out.setUint32(dirent + Dirent.at.ino + 4, dv.getUint32(batch.at + Linux.ino + 4, true), true);
  out.setUint32(dirent + Dirent.at.off, dv.getUint32(batch.at + Linux.off, true), true);
  out.setUint32(dirent + Dirent.at.off + 4, dv.getUint32(batch.at + Linux.off + 4, true), true);
  out.setUint32(dirent + Dirent.at.namelen, nameBytes, true);
  out.setUint32(dirent + Dirent.at.type, mode, true);
  const name = dirent + Dirent.size;
  const from = batch.at + Linux.name;
  const bytes = memory.bytes;
  for (let i = 0; i < nameBytes; i++) output[name + i] = bytes[from + i]!;
  const end = dirent + direntBytes(nameBytes);
  for (let i = name + nameBytes; i < end; i++) output[i] = 0;
  return true;
}

function isDots(batch: Batch, nameBytes: number): boolean {
  const { bytes } = batch.memory;
  const at = batch.at + Linux.name;
  return bytes[at] === DOT && (nameBytes === 1 || (nameBytes === 2 && bytes[at + 1] === DOT));
}
