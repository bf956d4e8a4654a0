/** Test equipment: a guest's side of a queue, without a ring. */
import { readSync, writeSync } from "node:fs";
import { Random } from "../../../formats/bytes/testing.ts";
import { InHeader, InitIn, Opcode, OutHeader } from "../../../formats/fuse/index.ts";
import { type FileSystem, IN_ARGS, SESSION_WORDS } from "../../fuse/index.ts";
import { type Call, fill } from "../../fuse/testing/index.ts";
import { addressOf, viewMemory } from "../../sys/index.ts";
import { Chain, MAX_SEGMENTS, PLACE, type QueueWorker, type Segments, type ShmemMapper } from "../../vhost/index.ts";
import { FsQueue, type GuestFile, NotingMapper, ReadOnlyMemory, type WindowMemory } from "./index.ts";

const MEMORY_BYTES = 16 << 20;
/** Where memory lies that only the front-end has, as the guest sees it. */
export const FOREIGN_AT = 0x1_0000_0000;

/** What came back: the status, and what is behind the header. Null when nothing was written. */
export type Reply = { readonly error: number; readonly unique: bigint; readonly body: Buffer } | null;

/** Lays out requests in memory of three kinds, in pieces of random lengths, and reads the replies. */
export class TestQueue {
  readonly handler: FsQueue;
  readonly chain = new Chain();
  /** Completed late: head and bytes written. */
  readonly completed: (readonly [number, number])[] = [];
  readonly log: string[] = [];
  /** What the mapper answers; null for what it does. */
  mapperStatus: number | null = null;
  /** Kinds of memory that requests lie in. */
  places: readonly number[] = [PLACE.RAM];
  /** Whether what lies behind a reply must be as it was. It is not where a part of the reply's place is out of reach. */
  isStrict = true;
  /** Longest piece, in bytes. */
  maxPiece = 5000;
  /** By place, memory and how much of it is used. */
  readonly #memory = [0, 1, 2].map(() => ({ bytes: Buffer.allocUnsafeSlow(MEMORY_BYTES), used: 0 }));
  readonly #session = new Int32Array(SESSION_WORDS);
  readonly #random: Random;
  #unique = 2n;

  /** @param guestFiles what of the memory that only the front-end has is files, from its start */
  constructor(fileSystem: FileSystem, seed = 1, hasWindow = true, guestFiles: readonly GuestFile[] = []) {
    this.#random = new Random(seed);
    const mapper = new NotingMapper({ mapper: this.#mapper() });
    const worker: QueueWorker = {
      queue: 1,
      data: null,
      mapper: { ...this.#mapper(), remap: () => -19 },
      reopen: () => this.chain,
      complete: (head, bytes) => {
        this.completed.push([head, bytes]);
      },
      watch: () => {},
    };
    this.handler = new FsQueue({
      worker,
      fileSystem,
      session: this.#session,
      window: hasWindow ? { ...this.#window(), forgetAll: () => {} } : null,
      mapper,
      guestFiles: new ReadOnlyMemory(guestFiles),
      log: (line) => this.log.push(line),
    });
  }

  get isMounted(): boolean {
    return this.#session[0] !== 0;
  }

  init(): Reply {
    const args = fill(InitIn, { major: 7, minor: 45, maxReadahead: 1 << 20, flags: 0xffffffff, flags2: 0xffffffff });
    return this.call(Opcode.INIT, { args });
  }

  /** A well-formed request, as Linux builds it, with room for `limit` bytes of reply. */
  message(opcode: number, call: Call): Buffer {
    const names = (call.names ?? []).flatMap((name) => [Buffer.from(name as string), Buffer.from([0])]);
    const parts = [call.args ?? [], ...names, call.rest ?? [], call.data ?? []].map(Buffer.from);
    const message = Buffer.concat([Buffer.alloc(IN_ARGS), ...parts]);
    const header = InHeader.view(message);
    header.len = message.length;
    header.opcode = opcode;
    header.unique = this.#unique;
    this.#unique += 2n;
    header.nodeid = call.nodeId ?? 1;
    return message;
  }

  call(opcode: number, call: Call): Reply {
    return this.send(this.message(opcode, call), (call.limit ?? 8192) + OutHeader.size);
  }

  send(message: Uint8Array, room: number): Reply {
    this.lay(message, room);
    return this.read(this.handler.handle(this.chain));
  }

  /** Lays a request out in memory and in the chain. */
  lay(message: Uint8Array, room: number): void {
    for (const memory of this.#memory) memory.used = 0;
    this.#place(this.chain.readable, Buffer.from(message));
    this.#place(this.chain.writable, Buffer.alloc(room, 0xaa));
  }

  /** The reply in the chain's memory, `written` bytes of it; what is behind must be as it was. */
  read(written: number): Reply {
    const all = this.#bytesOf(this.chain.writable);
    if (written < 0 || written > all.length) throw new Error(`${written} bytes written, of ${all.length}`);
    if (this.isStrict && !all.subarray(written).every((byte) => byte === 0xaa))
      throw new Error(`written behind byte ${written}`);
    if (written === 0) return null;
    const header = OutHeader.view(all);
    if (header.len !== written) throw new Error(`fuse_out_header.len is ${header.len} of ${written} bytes`);
    return { error: header.error, unique: header.unique, body: all.subarray(OutHeader.size, written) };
  }

  #place(segments: Segments, bytes: Buffer): void {
    segments.clear();
    for (let done = 0; done < bytes.length; ) {
      // A chain has at most MAX_SEGMENTS of them.
      const piece = 1 + this.#random.below(this.maxPiece) + Math.floor(bytes.length / (MAX_SEGMENTS / 2));
      const length = Math.min(piece, bytes.length - done);
      const place = this.#random.of(this.places);
      const memory = this.#memory[place]!;
      // Pieces neither touch nor come in order of their addresses.
      const at = memory.used + this.#random.below(64);
      memory.used = at + length;
      bytes.copy(memory.bytes, at, done, done + length);
      const index = segments.count++;
      segments.length[index] = length;
      segments.place[index] = place;
      segments.address[index] = this.#addressIn(place, at);
      segments.bytes += length;
      if (place !== PLACE.RAM) segments.isRam = false;
      done += length;
    }
  }

  #bytesOf(segments: Segments): Buffer {
    const pieces: Buffer[] = [];
    for (let index = 0; index < segments.count; index++) {
      const place = segments.place[index]!;
      const at = segments.address[index]! - this.#addressIn(place, 0);
      pieces.push(this.#memory[place]!.bytes.subarray(at, at + segments.length[index]!));
    }
    return Buffer.concat(pieces);
  }

  #addressIn(place: number, at: number): number {
    if (place === PLACE.RAM) return addressOf(this.#memory[place]!.bytes) + at;
    return place === PLACE.WINDOW ? at : FOREIGN_AT + at;
  }

  #window(): WindowMemory {
    const memory = this.#memory[PLACE.WINDOW]!.bytes;
    const move = (at: number, bytes: number, address: number, isIn: boolean) => {
      if (at + bytes > memory.length) return -14;
      const there = Buffer.from(viewMemory(address, bytes));
      if (isIn) there.copy(memory, at);
      else memory.copy(there, 0, at, at + bytes);
      return 0;
    };
    return {
      copyOut: (at, bytes, address) => move(at, bytes, address, false),
      copyIn: (at, bytes, address) => move(at, bytes, address, true),
    };
  }

  #mapper(): ShmemMapper {
    const memory = this.#memory[PLACE.FOREIGN]!.bytes;
    return {
      map: () => this.mapperStatus ?? 0,
      unmap: () => this.mapperStatus ?? 0,
      unmapAll: () => this.mapperStatus ?? 0,
      transfer: (fd, fdOffset, guestAddress, bytes, toGuest) => {
        if (this.mapperStatus !== null) return this.mapperStatus;
        const at = guestAddress - FOREIGN_AT;
        if (at < 0 || at + bytes > memory.length) return -5;
        const moved = toGuest ? readSync(fd, memory, at, bytes, fdOffset) : writeSync(fd, memory, at, bytes, fdOffset);
        return moved === bytes ? 0 : -5;
      },
    };
  }
}
