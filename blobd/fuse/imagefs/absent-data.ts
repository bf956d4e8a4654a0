import { SharedBlobReader } from "../../store/index.ts";
import { AsyncReads, allocAligned, type NativeBuffer, PAGE_SIZE } from "../../sys/index.ts";
import { type FuseRequest, PARKED, type ParkedReply } from "../request.ts";
import type { LazyDevice } from "./lazy-devices.ts";
import { EAGAIN, EINTR, EIO } from "./linux.ts";

/** Chunks that one thread has fetched at a time; those of more requests wait. */
const DEPTH = 256;
/** How often requests that wait are looked after, in ms. */
const LOOK_MS = 1;

/** A chunk that is wanted: a page of it is read where that waits for it. */
interface WantedChunk {
  readonly fd: number;
  readonly position: number;
}

/** A request that waits for chunks. */
interface Waiting {
  readonly reply: ParkedReply;
  /** Not asked for yet. */
  readonly left: WantedChunk[];
  /** Asked for, not there yet. */
  underWay: number;
  /** The first error, positive; 0: none. */
  errno: number;
}

/**
 * An image's data that are not there, for one thread: a request that meets some parks until they are, and is handled again.
 *
 *     handler: isThere? want!  ──► park ──► reads of the served files, in the kernel ──► resume: handled again
 */
export class AbsentData {
  readonly #devices: readonly (LazyDevice | null)[];
  readonly #readers: readonly (SharedBlobReader | null)[];
  /** Made when something is wanted first: the kernel has room for so many in all its processes (fs.aio-max-nr). */
  #reads: AsyncReads | undefined;
  /** Whatever is read goes here: it is there to be waited for. */
  readonly #scratch: NativeBuffer = allocAligned(PAGE_SIZE);
  readonly #waiting = new Map<number, Waiting>();
  #wanted: WantedChunk[] = [];
  #nextId = 1;

  /** @param devices by their places among the image's files */
  constructor(devices: readonly (LazyDevice | null)[]) {
    this.#devices = devices;
    this.#readers = devices.map((device) => device && new SharedBlobReader(device.blob));
  }

  /** Whether a range of a file is there; what is not is wanted from then on, for the request in hand. */
  isThere(file: number, offset: number, bytes: number): boolean {
    const reader = this.#readers[file];
    if (!reader) return true;
    let at = reader.nextAbsent(offset, bytes);
    if (at < 0) return true;
    const end = offset + bytes;
    const fd = this.#devices[file]!.servedFd;
    while (at >= 0) {
      this.#wanted.push({ fd, position: at });
      const next = reader.endOfChunk(at);
      at = next < end ? reader.nextAbsent(next, end - next) : -1;
    }
    return false;
  }

  get isWanted(): boolean {
    return this.#wanted.length > 0;
  }

  /** Nothing is wanted any more by the request in hand. */
  forget(): void {
    this.#wanted = [];
  }

  /** Parks the request in hand until what it wants is there. @returns the handler's status @throws Error for no room */
  park(request: FuseRequest): number {
    const left = this.#wanted;
    this.#wanted = [];
    this.#reads ??= makeReads();
    const reply = request.park();
    if (reply.again === undefined) reply.finish(-EIO);
    else {
      const id = this.#nextId++;
      this.#waiting.set(id, { reply, left, underWay: 0, errno: 0 });
      this.#ask(id);
    }
    return PARKED;
  }

  /** @returns in how many ms to call again, -1: nobody waits */
  resume(): number {
    if (this.#waiting.size === 0) return -1;
    this.#reads!.reap((id, result) => {
      const waiting = this.#waiting.get(id);
      if (waiting === undefined) return; // Interrupted.
      waiting.underWay--;
      if (result < 0 && waiting.errno === 0) waiting.errno = -result;
    });
    for (const [id, waiting] of this.#waiting) {
      this.#ask(id);
      if (waiting.underWay > 0 || waiting.left.length > 0) continue;
      this.#waiting.delete(id);
      if (waiting.errno !== 0) waiting.reply.finish(-waiting.errno);
      else waiting.reply.again!();
    }
    return this.#waiting.size === 0 ? -1 : LOOK_MS;
  }

  /** A request that nobody waits for any more. */
  interrupt(unique: bigint): void {
    for (const [id, { reply }] of this.#waiting) {
      if (reply.unique !== unique) continue;
      this.#waiting.delete(id);
      reply.finish(-EINTR);
    }
  }

  #ask(id: number): void {
    const waiting = this.#waiting.get(id)!;
    const { left } = waiting;
    while (left.length > 0) {
      const { fd, position } = left.at(-1)!;
      const status = this.#reads!.submit(id, fd, this.#scratch.address, PAGE_SIZE, position);
      if (status === -EAGAIN) return;
      left.pop();
      if (status === 0) waiting.underWay++;
      else waiting.errno ||= -status;
    }
  }
}

/** @throws Error, which is told and answered with EIO: that of the system call would be EAGAIN, and nobody would be told */
function makeReads(): AsyncReads {
  try {
    return new AsyncReads(DEPTH);
  } catch (error) {
    throw new Error(`no reads of what is absent: ${(error as Error).message}; see /proc/sys/fs/aio-max-nr`);
  }
}
