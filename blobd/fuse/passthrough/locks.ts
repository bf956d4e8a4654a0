import { getU53 } from "../../../formats/bytes/index.ts";
import { LK_FLOCK, LkIn, LkOut } from "../../../formats/fuse/index.ts";
import { allocAligned, errno, type NativeBuffer } from "../../sys/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS, PARKED, type ParkedReply } from "../request.ts";
import { FileKind } from "./files.ts";
import {
  EACCES,
  EAGAIN,
  EBADF,
  EINTR,
  EINVAL,
  ENOSYS,
  ESTALE,
  EWOULDBLOCK,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
} from "./linux.ts";
import { INTERRUPTS } from "./state.ts";
import type { Volume } from "./volume.ts";

// fcntl.h, sys/file.h.
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/** `struct flock` of 64-bit machines: type, whence, start, length, process. A length of 0 reaches to the end. */
const Flock = { type: 0, whence: 2, start: 8, len: 16, pid: 24, bytes: 32 } as const;
/** The last byte a lock can cover: where "to the end" ends. */
const LAST = 0x7fff_ffff_ffff_ffffn;

/** Pause between two attempts at a lock that somebody holds, in ms: first, and at most. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;
/** Most requests of a thread that wait for locks: each is memory of the daemon's. */
const MAX_WAITING = 4096;

/** A request that waits for a lock. */
interface Waiting {
  readonly reply: ParkedReply;
  /** The pinned slot of the open file, or of the lock owner's. */
  readonly file: number;
  /** For flock(2); else a copy of the `struct flock`. */
  readonly operation: number;
  readonly range: Buffer | null;
  pauseMs: number;
  nextMs: number;
}

/**
 * Locks on the host's files. flock(2) locks belong to the open file. fcntl(2) locks belong to an owner, a process of the
 * other side's: for each owner and file there is an open file of its own, whose locks are held as those of an open file
 * description (OFD locks), which goes when the owner closes the file.
 *
 * Nobody waits inside a system call: a lock that is not to be had is tried again and again, so that the thread can serve
 * who gives it back.
 */
export class Locks {
  readonly #volume: Volume;
  readonly #memory: NativeBuffer = allocAligned(Flock.bytes);
  readonly #dv = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, Flock.bytes);
  #waiting: Waiting[] = [];
  /** Interrupts that were looked at. */
  #seen = 0;

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  /** GETLK: the lock that would be in the way, or that there is none. */
  getlk(request: FuseRequest): number {
    if (!this.#volume.settings.posixLocks) return -ENOSYS;
    const bad = this.#putRange(request);
    if (bad !== 0) return bad;
    const { files, calls } = this.#volume;
    const file = this.#ownersFile(request);
    if (file < 0) return file;
    const status = calls.fcntlAddress(files.fdOf(file), F_OFD_GETLK, this.#memory.address) < 0 ? -errno() : 0;
    files.unpin(file);
    if (status < 0) return status;
    const { out } = request;
    const start = this.#dv.getBigInt64(Flock.start, true);
    const length = this.#dv.getBigInt64(Flock.len, true);
    out.setBigUint64(OUT_ARGS + LkOut.at.start, BigInt.asUintN(64, start), true);
    out.setBigUint64(OUT_ARGS + LkOut.at.end, length === 0n ? LAST : BigInt.asUintN(64, start + length - 1n), true);
    out.setUint32(OUT_ARGS + LkOut.at.type, this.#dv.getInt16(Flock.type, true), true);
    // A process of the host's says nothing to the other side.
    out.setUint32(OUT_ARGS + LkOut.at.pid, 0, true);
    request.outputBytes = LkOut.size;
    return 0;
  }

  /** SETLK and SETLKW, of both kinds. */
  setlk(request: FuseRequest, wait: boolean): number {
    const { settings } = this.#volume;
    const isFlock = (request.in.getUint32(IN_ARGS + LkIn.at.lkFlags, true) & LK_FLOCK) !== 0;
    if (isFlock) return settings.flock ? this.#setFlock(request, wait) : -ENOSYS;
    return settings.posixLocks ? this.#setRange(request, wait) : -ENOSYS;
  }

  #setFlock(request: FuseRequest, wait: boolean): number {
    const type = request.in.getUint32(IN_ARGS + LkIn.at.type, true);
    const operation = type === F_RDLCK ? LOCK_SH : type === F_WRLCK ? LOCK_EX : type === F_UNLCK ? LOCK_UN : 0;
    if (operation === 0) return -EINVAL;
    const fh = getU53(request.in, IN_ARGS + LkIn.at.fh, "fuse_lk_in.fh");
    const file =
      this.#volume.files.pin(fh, FileKind.FILE, request.nodeId) ||
      this.#volume.files.pin(fh, FileKind.DIRECTORY, request.nodeId);
    if (file === 0) return -EBADF;
    return this.#try(request, file, operation | LOCK_NB, null, wait);
  }

  #setRange(request: FuseRequest, wait: boolean): number {
    const bad = this.#putRange(request);
    if (bad !== 0) return bad;
    const file = this.#ownersFile(request);
    if (file < 0) return file;
    return this.#try(request, file, 0, wait ? Buffer.from(this.#memory.bytes) : null, wait);
  }

  /** Tries it once; parks the request when it may wait. The pinned file is unpinned when it need not. */
  #try(request: FuseRequest, file: number, operation: number, range: Buffer | null, wait: boolean): number {
    const status = this.#lock(file, operation);
    if (!wait || !isHeld(status)) {
      this.#volume.files.unpin(file);
      return isHeld(status) ? -EAGAIN : status;
    }
    if (this.#waiting.length >= MAX_WAITING) {
      this.#volume.files.unpin(file);
      return -EAGAIN;
    }
    if (this.#waiting.length === 0) this.#seen = this.#volume.state.interrupts - INTERRUPTS;
    const reply = request.park();
    this.#waiting.push({
      reply,
      file,
      operation,
      range,
      pauseMs: FIRST_PAUSE_MS,
      nextMs: performance.now() + FIRST_PAUSE_MS,
    });
    return PARKED;
  }

  #lock(file: number, operation: number): number {
    const { files, calls } = this.#volume;
    const fd = files.fdOf(file);
    const result =
      operation !== 0 ? calls.flock(fd, operation) : calls.fcntlAddress(fd, F_OFD_SETLK, this.#memory.address);
    return result < 0 ? -errno() : 0;
  }

  /** The request's range into the scratch `struct flock`. @returns 0 or a negative error number */
  #putRange(request: FuseRequest): number {
    const { in: dv } = request;
    const type = dv.getUint32(IN_ARGS + LkIn.at.type, true);
    const start = dv.getBigUint64(IN_ARGS + LkIn.at.start, true);
    const end = dv.getBigUint64(IN_ARGS + LkIn.at.end, true);
    if (type > F_UNLCK || start > end || end > LAST) return -EINVAL;
    this.#memory.bytes.fill(0);
    this.#dv.setInt16(Flock.type, type, true);
    this.#dv.setBigInt64(Flock.start, start, true);
    this.#dv.setBigInt64(Flock.len, end === LAST ? 0n : end - start + 1n, true);
    return 0;
  }

  /** The open file that holds the locks of the request's owner; pinned. @returns its slot; a negative error number */
  #ownersFile(request: FuseRequest): number {
    const { files, nodes } = this.#volume;
    const low = request.in.getInt32(IN_ARGS + LkIn.at.owner, true);
    const high = request.in.getInt32(IN_ARGS + LkIn.at.owner + 4, true);
    const known = files.pinOwner(request.nodeId, low, high);
    if (known !== 0) return known;
    const slot = nodes.pin(request.nodeId);
    if (slot === 0) return -ESTALE;
    let flags = O_RDWR;
    let fd = this.#volume.settings.readOnly ? -EACCES : this.#volume.open(slot, O_RDWR);
    for (const fewer of [O_RDONLY, O_WRONLY]) {
      if (fd >= 0) break;
      flags = fewer;
      fd = this.#volume.open(slot, flags);
    }
    nodes.unpin(slot);
    return fd < 0 ? fd : files.addOwner(fd, request.nodeId, flags, low, high);
  }

  /** FLUSH: an owner closes a file, and its locks on it go. */
  drop(request: FuseRequest, ownerAt: number): void {
    const { files, settings } = this.#volume;
    if (!settings.posixLocks) return;
    files.releaseOwner(request.nodeId, request.in.getInt32(ownerAt, true), request.in.getInt32(ownerAt + 4, true));
  }

  /** Somebody does not want this request answered any more: whichever thread has it finds that here. */
  interrupt(unique: bigint): void {
    const { state } = this.#volume;
    const at = state.interruptAt(state.nextInterrupt());
    Atomics.store(state.words, at, Number(unique & 0xffff_ffffn) | 0);
    Atomics.store(state.words, at + 1, Number(unique >> 32n) | 0);
  }

  /** Tries the waiting ones whose time has come. @returns ms until the next; -1 when none waits */
  resume(): number {
    if (this.#waiting.length === 0) return -1;
    const now = performance.now();
    const interrupted = this.#interrupted();
    let nextMs = Number.POSITIVE_INFINITY;
    this.#waiting = this.#waiting.filter((one) => {
      const isUnwanted = interrupted.has(one.reply.unique);
      if (isUnwanted || one.nextMs <= now) {
        if (isUnwanted) return this.#finish(one, -EINTR);
        if (one.range !== null) this.#memory.bytes.set(one.range);
        const status = this.#lock(one.file, one.operation);
        if (!isHeld(status)) return this.#finish(one, status);
        one.pauseMs = Math.min(one.pauseMs * 2, LONGEST_PAUSE_MS);
        one.nextMs = now + one.pauseMs;
      }
      nextMs = Math.min(nextMs, one.nextMs);
      return true;
    });
    return this.#waiting.length === 0 ? -1 : Math.max(1, Math.ceil(nextMs - now));
  }

  #finish(one: Waiting, status: number): false {
    this.#volume.files.unpin(one.file);
    one.reply.finish(status);
    return false;
  }

  /** Requests that were interrupted since this was last asked, as far as the memory of them reaches. */
  #interrupted(): Set<bigint> {
    const { state } = this.#volume;
    const uniques = new Set<bigint>();
    const now = state.interrupts;
    let from = this.#seen;
    if (((now - from) | 0) > INTERRUPTS) from = now - INTERRUPTS;
    for (let index = from; index !== now; index = (index + 1) | 0) {
      const at = state.interruptAt((index >>> 0) % INTERRUPTS);
      const low = BigInt(Atomics.load(state.words, at) >>> 0);
      uniques.add((BigInt(Atomics.load(state.words, at + 1) >>> 0) << 32n) | low);
    }
    // The newest may be half written yet: it is looked at again.
    this.#seen = now === from ? now : (now - 1) | 0;
    return uniques;
  }

  /** Everything is given up. */
  dropAll(): void {
    for (const one of this.#waiting) this.#finish(one, -EINTR);
    this.#waiting = [];
  }
}

function isHeld(status: number): boolean {
  return status === -EAGAIN || status === -EACCES || status === -EWOULDBLOCK;
}
