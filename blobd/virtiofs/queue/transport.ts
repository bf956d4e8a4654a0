import { InHeader, Opcode, OutHeader, ReadIn, WriteIn } from "../../../formats/fuse/index.ts";
import { FuseRequest, IN_ARGS, INPUT_BYTES, type IoVector, OUT_ARGS, OUTPUT_BYTES } from "../../fuse/index.ts";
import { type Chain, PLACE, type Segments, type ShmemMapper } from "../../vhost/index.ts";
import { Bounce } from "./bounce.ts";
import { GuestMemory, type WindowMemory } from "./guest-memory.ts";
import type { ReadOnlyMemory } from "./read-only-memory.ts";

const E2BIG = 7;
const EFAULT = 14;
const EINVAL = 22;

/** Most bytes of a WRITE's data, and of a READ's: what the server agrees on with Linux, and page alignment's due. */
export const MAX_DATA_BYTES = (1 << 20) + 4096;
/** Room for the data of a request, and once more for what is just being copied by the front-end. */
const BOUNCE_BYTES = 2 * MAX_DATA_BYTES;
/** Where the data of a WRITE begin. */
const WRITE_DATA_AT = IN_ARGS + WriteIn.size;

/**
 * Requests and replies between a virtqueue's chains and a FuseRequest.
 *
 * ```
 *  readable   InHeader │ arguments, names … │ WRITE: data               in segments of any lengths
 *                 └── copied to `input` ──┘   └ `data`: where they lie
 *  writable   OutHeader │ arguments … or READ: data
 *                 ▲ copied from `output`        └ `room`: where they are to lie
 * ```
 * Header and arguments are copied before they are looked at: the guest may change its memory at any time.
 */
export class Transport {
  readonly request = new FuseRequest();
  readonly #bounce = new Bounce(BOUNCE_BYTES);
  readonly #memory: GuestMemory;
  /** Pieces of `room` that lie in the bounce buffer: their place, and where they belong. */
  readonly #bounced: { readonly place: number; readonly to: number; readonly at: number; readonly bytes: number }[] =
    [];

  constructor(window: WindowMemory | null, mapper: ShmemMapper, files: ReadOnlyMemory) {
    this.#memory = new GuestMemory(window, mapper, this.#bounce, files);
  }

  /**
   * Fills the request from a chain. The header is there when this has succeeded, so that an error can be replied.
   * @returns 0 or a negative error number
   */
  take(chain: Chain): number {
    const { request } = this;
    const { readable, writable } = chain;
    this.#bounce.clear();
    // Setting the length of an array is slow, also when it has it already.
    if (this.#bounced.length > 0) this.#bounced.length = 0;
    request.data.clear();
    request.room.clear();
    request.isRepeated = chain.isRepeated;
    request.outputLimit = Math.max(0, Math.min(writable.bytes, OUTPUT_BYTES) - OUT_ARGS);
    const head = Math.min(readable.bytes, WRITE_DATA_AT);
    request.inputBytes = head;
    const status = this.#memory.gather(readable, 0, head, request.input.address);
    if (status < 0) return status;
    const opcode = request.in.getUint32(InHeader.at.opcode, true);
    if (opcode === Opcode.WRITE) return this.#takeData(readable);
    return this.#takeRest(readable, head) || (opcode === Opcode.READ ? this.#takeRoom(writable) : 0);
  }

  /**
   * Puts the reply into a chain.
   * @param status 0 for what is in the request, or a negative error number
   * @returns bytes written to the chain
   */
  reply(chain: Chain, status: number): number {
    const { request } = this;
    const inline = status < 0 ? 0 : request.outputBytes;
    const inRoom = status < 0 ? 0 : request.roomBytes;
    if (inRoom > 0 && this.#bounced.length > 0) {
      const moved = this.#unbounce(inRoom);
      if (moved < 0) return this.reply(chain, moved);
    }
    this.writeHeader(OUT_ARGS + inline + inRoom, status, request.in, InHeader.at.unique);
    const sent = this.#memory.scatter(chain.writable, OUT_ARGS + inline, request.output.address);
    return sent < 0 ? 0 : OUT_ARGS + inline + inRoom;
  }

  /** Puts a late reply, an error or nothing but a header, into a chain. @returns bytes written to it */
  replyLate(chain: Chain, unique: DataView, status: number): number {
    if (chain.writable.bytes < OUT_ARGS) return 0;
    this.writeHeader(OUT_ARGS, status, unique, 0);
    return this.#memory.scatter(chain.writable, OUT_ARGS, this.request.output.address) < 0 ? 0 : OUT_ARGS;
  }

  /** Writes the header of a reply to `output`, for the request whose `unique` lies at `at`. */
  writeHeader(bytes: number, error: number, unique: DataView, at: number): void {
    const { out } = this.request;
    out.setUint32(OutHeader.at.len, bytes, true);
    out.setInt32(OutHeader.at.error, error, true);
    out.setUint32(OutHeader.at.unique, unique.getUint32(at, true), true);
    out.setUint32(OutHeader.at.unique + 4, unique.getUint32(at + 4, true), true);
  }

  close(): void {
    this.#bounce.close();
  }

  /** What is behind the first `head` bytes: no byte is copied twice, for it may be another one the second time. */
  #takeRest(readable: Segments, head: number): number {
    if (readable.bytes > INPUT_BYTES) return -E2BIG;
    this.request.inputBytes = readable.bytes;
    return this.#memory.gather(readable, head, readable.bytes, this.request.input.address + head);
  }

  #takeData(readable: Segments): number {
    if (readable.bytes > WRITE_DATA_AT + MAX_DATA_BYTES) return -EINVAL;
    return this.#point(this.request.data, readable, WRITE_DATA_AT, readable.bytes, true);
  }

  /** As much of the writable segments as the READ asks for. */
  #takeRoom(writable: Segments): number {
    const { request } = this;
    if (request.inputBytes < IN_ARGS + ReadIn.size) return 0; // the server refuses it
    const size = request.in.getUint32(IN_ARGS + ReadIn.at.size, true);
    const end = Math.min(writable.bytes, OUT_ARGS + size);
    if (end > OUT_ARGS + MAX_DATA_BYTES) return -EINVAL;
    request.outputLimit = Math.max(0, writable.bytes - OUT_ARGS);
    return this.#point(request.room, writable, OUT_ARGS, end, false);
  }

  /** Makes `vector` point at bytes `from` to `end` of the segments, or at where they wait. */
  #point(vector: IoVector, segments: Segments, from: number, end: number, isInput: boolean): number {
    for (let index = 0, start = 0; start < end && index < segments.count; index++) {
      const length = segments.length[index]!;
      const skip = Math.max(0, from - start);
      const bytes = Math.min(length, end - start) - skip;
      start += length;
      if (bytes <= 0) continue;
      const place = segments.place[index]!;
      const address = segments.address[index]! + skip;
      if (place === PLACE.RAM) {
        if (!vector.add(address, bytes)) return -EINVAL;
        continue;
      }
      const at = this.#bounce.take(bytes);
      if (at < 0) return -EINVAL;
      const waiting = this.#bounce.address + at;
      if (isInput) {
        const status = this.#memory.read(place, address, bytes, waiting);
        if (status < 0) return status;
      } else this.#bounced.push({ place, to: address, at: vector.bytes, bytes });
      if (!vector.add(waiting, bytes)) return -EINVAL;
    }
    return 0;
  }

  /** Moves what a READ has put into the bounce buffer to where it belongs. */
  #unbounce(bytes: number): number {
    let index = 0;
    for (let piece = 0, at = 0; piece < this.request.room.count && at < bytes; piece++) {
      const length = this.request.room.bytesOf(piece);
      const waits = this.#bounced[index];
      if (waits?.at === at) {
        index++;
        const filled = Math.min(length, bytes - at);
        const status = this.#memory.write(waits.place, waits.to, filled, this.request.room.addressOf(piece));
        if (status < 0) return -EFAULT;
      }
      at += length;
    }
    return 0;
  }
}
