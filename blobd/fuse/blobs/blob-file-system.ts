import { constants } from "node:os";
import { getU53, setU53 } from "../../../formats/bytes/index.ts";
import { Attr, InitFlag, InitFlag2, Kstatfs, OpenIn, OpenReplyFlag, ReadIn } from "../../../formats/fuse/index.ts";
import { SharedBlobReader } from "../../store/index.ts";
import { viewMemory } from "../../sys/index.ts";
import {
  DirentWriter,
  type FileSystem,
  type FuseRequest,
  IN_ARGS,
  OUT_ARGS,
  PARKED,
  type ParkedReply,
  replyAttr,
  replyEntry,
  replyOpen,
  type Validity,
  type WantedInit,
} from "../index.ts";
import { AccessOrder, accessOrderBytes } from "./access-order.ts";
import { type BlobTable, MAX_BLOBS, NAME_BYTES, ROOT_ID } from "./blob-table.ts";
import type { Tickets } from "./tickets.ts";

const { EAGAIN, EINTR, EIO, EISDIR, ENOENT, ENOTDIR, EROFS, ESTALE } = constants.errno;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const DT_REG = 8;
const O_ACCMODE = 3;
const BLOCK_BYTES = 4096;
/** Unit of `blocks` in attributes, in bytes. */
const SECTOR_BYTES = 512;

/** Content never changes, and a node ID never means another blob. Names come and go. */
const ATTR_VALID: Validity = { seconds: 3600, nanos: 0 };
/** A look at the directory always comes to us: by it is found out that a mount's server has died. */
const ROOT_VALID: Validity = { seconds: 0, nanos: 0 };
const ENTRY_VALID: Validity = { seconds: 1, nanos: 0 };

/**
 * A page fault reads so much around it. More would often reach into the next chunk, which is then fetched for nothing: who
 * reads in sequence is read ahead of by the fetcher.
 */
const READAHEAD_BYTES = 128 << 10;

/** How often parked reads are looked after, in ms. */
const RESUME_MS = 1;

/** A thread's view of a blob. */
interface Viewed {
  /** It is of this node: the place in the table may come to be another blob's. */
  readonly nodeId: number;
  readonly blob: SharedBlobReader;
  /** When it is noted what is read. */
  readonly order: AccessOrder | undefined;
}

/** A read that waits for data. */
interface Waiting {
  readonly reply: ParkedReply;
  readonly index: number;
  readonly nodeId: number;
  readonly offset: number;
  readonly bytes: number;
  /** -1: there was none left, it is asked for again. */
  ticket: number;
}

/**
 * Blobs as read-only files of their final size in one directory, by name. What is there is read from the store past the
 * host's page cache: the kernel caches it for the file here, and once is enough. A read of what is not there parks until it
 * is fetched, and its thread goes on.
 *
 * One object a thread; they share the table and the tickets.
 */
export class BlobFileSystem implements FileSystem {
  readonly #table: BlobTable;
  readonly #tickets: Tickets;
  /** This thread's views, by place. */
  readonly #blobs = new Map<number, Viewed>();
  readonly #dirents = new DirentWriter();
  #waiting: Waiting[] = [];

  constructor(table: BlobTable, tickets: Tickets) {
    this.#table = table;
    this.#tickets = tickets;
  }

  init(): WantedInit {
    // Who reads past the page cache need not wait in the call: imagefs. A keeper wants to know whether the kernel can send again.
    return { flags: InitFlag.ASYNC_DIO, flags2: InitFlag2.HAS_RESEND, maxReadahead: READAHEAD_BYTES };
  }
  destroy(): void {
    this.#blobs.clear();
  }
  forget(): void {}

  lookup(request: FuseRequest): number {
    if (request.nodeId !== ROOT_ID) return -ENOTDIR;
    const index = this.#table.find(request.input.bytes, request.nameAt, request.nameBytes);
    if (index < 0) return -ENOENT;
    this.#putAttr(request.out, replyEntry(request, this.#table.nodeId(index), 0, ENTRY_VALID, ATTR_VALID), index);
    return 0;
  }

  getattr(request: FuseRequest): number {
    const index = this.#table.indexOf(request.nodeId);
    if (index < 0 && request.nodeId !== ROOT_ID) return -ESTALE;
    this.#putAttr(request.out, replyAttr(request, index < 0 ? ROOT_VALID : ATTR_VALID), index);
    return 0;
  }

  open(request: FuseRequest): number {
    if (request.nodeId === ROOT_ID) return -EISDIR;
    const index = this.#table.indexOf(request.nodeId);
    if (index < 0) return -ESTALE;
    if ((request.in.getUint32(IN_ARGS + OpenIn.at.flags, true) & O_ACCMODE) !== 0) return -EROFS;
    if (!this.#table.open(index)) return -ESTALE;
    return replyOpen(request, 0, OpenReplyFlag.KEEP_CACHE | OpenReplyFlag.NOFLUSH);
  }
  release(request: FuseRequest): number {
    const index = this.#table.placeOf(request.nodeId);
    if (index >= 0) this.#table.release(index);
    return 0;
  }

  read(request: FuseRequest): number {
    const { nodeId } = request;
    const index = this.#table.indexOf(nodeId);
    if (index < 0) return nodeId === ROOT_ID ? -EISDIR : -ESTALE;
    const offset = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
    const wanted = request.in.getUint32(IN_ARGS + ReadIn.at.size, true);
    const bytes = Math.min(wanted, request.room.bytes, Math.max(0, this.#table.size(index) - offset));
    if (bytes === 0) return 0;
    const { blob, order } = this.#view(index, nodeId);
    const isThere = blob.isThere(offset, bytes);
    // Larger than our read-ahead: it comes from a mapping that asked for huge pages, as VMMs do for all memory of a guest.
    // Linux then reads 4 MiB for one page that was touched. Refused, it asks again for that page alone: so little is fetched,
    // and recorded.
    if (bytes > READAHEAD_BYTES && (!isThere || order?.isRefused(offset))) return -EAGAIN;
    order?.note(offset, bytes);
    if (isThere) {
      this.#tickets.noteHit();
      return this.#readNow(request, blob, offset, bytes);
    }
    const reply = request.park();
    if (reply.finishRead === undefined) {
      reply.finish(-EIO);
      return PARKED;
    }
    const ticket = this.#tickets.ask(index, offset, bytes, reply.unique);
    this.#waiting.push({ reply, index, nodeId, offset, bytes, ticket });
    return PARKED;
  }

  resume(): number {
    if (this.#waiting.length === 0) return -1;
    this.#waiting = this.#waiting.filter((waiting) => !this.#settle(waiting));
    return this.#waiting.length === 0 ? -1 : RESUME_MS;
  }
  interrupt(unique: bigint): void {
    this.#tickets.interrupt(unique);
  }

  opendir(request: FuseRequest): number {
    return request.nodeId === ROOT_ID ? replyOpen(request, 0, 0) : -ENOTDIR;
  }
  readdir(request: FuseRequest, plus: boolean): number {
    if (request.nodeId !== ROOT_ID) return -ENOTDIR;
    this.#dirents.start(request, plus);
    for (
      let index = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
      index < MAX_BLOBS;
      index++
    ) {
      if (!this.#table.isShown(index)) continue;
      if (!this.#dirents.fits(NAME_BYTES)) break;
      this.#dirents.add(this.#table.nodeId(index), index + 1, 0, DT_REG, this.#table.nameBytes(index), 0, NAME_BYTES);
    }
    return 0;
  }

  statfs(request: FuseRequest): number {
    const { out } = request;
    for (let i = 0; i < Kstatfs.size; i += 4) out.setUint32(OUT_ARGS + i, 0, true);
    out.setUint32(OUT_ARGS + Kstatfs.at.bsize, BLOCK_BYTES, true);
    out.setUint32(OUT_ARGS + Kstatfs.at.frsize, BLOCK_BYTES, true);
    out.setUint32(OUT_ARGS + Kstatfs.at.namelen, NAME_BYTES, true);
    request.outputBytes = Kstatfs.size;
    return 0;
  }

  #readNow(request: FuseRequest, blob: SharedBlobReader, offset: number, bytes: number): number {
    const { room } = request;
    let done = 0;
    for (let piece = 0; piece < room.count && done < bytes; piece++) {
      const length = Math.min(room.bytesOf(piece), bytes - done);
      const got = blob.readAt(room.addressOf(piece), length, offset + done);
      if (got < 0) return got;
      done += got;
      if (got < length) break;
    }
    request.roomBytes = done;
    // Nobody may take a hole for zeros that are there.
    return done === bytes ? 0 : -EIO;
  }

  /** Answers a parked read when it is time. @returns whether it is answered */
  #settle(waiting: Waiting): boolean {
    const { reply, index, nodeId, offset, bytes, ticket } = waiting;
    if (ticket < 0) {
      waiting.ticket = this.#tickets.ask(index, offset, bytes, reply.unique);
      return false;
    }
    const state = this.#tickets.state(ticket);
    if (state === "waiting") {
      // Answered at once; its ticket is free when the service is done with it.
      if (!this.#tickets.isInterrupted(ticket) || !this.#tickets.forget(ticket)) {
        if (!this.#tickets.isInterrupted(ticket)) return false;
        this.#orphans.push(ticket);
      }
      reply.finish(-EINTR);
      return true;
    }
    this.#tickets.free(ticket);
    const { blob } = this.#view(index, nodeId);
    if (state !== "done" || !blob.isThere(offset, bytes)) reply.finish(typeof state === "number" ? -state : -EIO);
    else
      reply.finishRead!(bytes, (address, room) => {
        const got = blob.readAt(address, room, offset);
        return got >= 0 && got < room ? -EIO : got;
      });
    return true;
  }

  /** Tickets of interrupted reads that the service works on. */
  #orphans: number[] = [];

  /** This thread's view of the blob. */
  #view(index: number, nodeId: number): Viewed {
    this.#freeOrphans();
    const known = this.#blobs.get(index);
    if (known?.nodeId === nodeId) return known;
    const address = this.#table.orderAddress(index);
    const turns = address > 0 && new Int32Array(viewMemory(address, accessOrderBytes(this.#table.size(index))));
    const order = turns ? new AccessOrder(turns, () => this.#table.nextTurn()) : undefined;
    const viewed = { nodeId, blob: new SharedBlobReader(this.#table.blob(index)), order };
    this.#blobs.set(index, viewed);
    return viewed;
  }

  #freeOrphans(): void {
    if (this.#orphans.length === 0) return;
    this.#orphans = this.#orphans.filter((ticket) => {
      if (this.#tickets.state(ticket) === "waiting") return true;
      this.#tickets.free(ticket);
      return false;
    });
  }

  /** @param index -1: the directory */
  #putAttr(out: DataView, at: number, index: number): void {
    for (let i = 0; i < Attr.size; i += 4) out.setUint32(at + i, 0, true);
    const size = index < 0 ? 0 : this.#table.size(index);
    setU53(out, at + Attr.at.ino, index < 0 ? ROOT_ID : this.#table.nodeId(index));
    setU53(out, at + Attr.at.size, size);
    setU53(out, at + Attr.at.blocks, Math.ceil(size / SECTOR_BYTES));
    out.setUint32(at + Attr.at.mode, index < 0 ? S_IFDIR | 0o500 : S_IFREG | 0o400, true);
    out.setUint32(at + Attr.at.nlink, index < 0 ? 2 : 1, true);
    out.setUint32(at + Attr.at.uid, process.geteuid!(), true);
    out.setUint32(at + Attr.at.gid, process.getegid!(), true);
    out.setUint32(at + Attr.at.blksize, BLOCK_BYTES, true);
  }
}
