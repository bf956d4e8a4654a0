import { InHeader, OutHeader } from "../../formats/fuse/index.ts";
import { allocAligned, type NativeBuffer } from "../sys/index.ts";
import { IoVector } from "./io-vector.ts";
import type { FuseSession } from "./session.ts";

/** Longest request without the data of a WRITE, in bytes: a SETXATTR of 64 KiB, a full BATCH_FORGET. */
export const INPUT_BYTES = 256 << 10;
/** Longest reply without the data of a READ, in bytes: a READDIR of the largest buffer that Linux gives it (1 MiB). */
export const OUTPUT_BYTES = (1 << 20) + 4096;

/** What a handler answers when the reply comes later, through `FuseRequest.park`. */
export const PARKED = 1;
/** What the server answers for a request that takes no reply: FORGET, BATCH_FORGET, INTERRUPT. */
export const NO_REPLY = 2;

/** A reply that is still owed. It belongs to the thread that got the request. */
export interface ParkedReply {
  /** The request's `unique`, by which an INTERRUPT names it. */
  readonly unique: bigint;
  /** Replies with 0 and nothing behind the header, or with a negative error number. To be called once. */
  finish(status: number): void;
  /**
   * Has the request handled once more, from its start, as if it had just come: what it waited for is there. Absent where the
   * transport cannot. In place of `finish`.
   */
  again?(): void;
  /**
   * Replies with data, as to a READ: `fill` writes at most `bytes` (MAX_WRITE_BYTES at most) to an address and returns how many
   * it wrote, or a negative error number. Absent where the transport cannot. In place of `finish`.
   */
  finishRead?(bytes: number, fill: (address: number, bytes: number) => number): void;
}

/**
 * A FUSE request in the hands of a server, and the reply to it. A transport has one for each thread and fills it anew for
 * each request; nothing of it may be kept beyond the call.
 *
 * ```
 *  input    InHeader │ arguments │ name\0 name\0 │ value      in one piece, whatever pieces the transport got it in
 *  data     what a WRITE writes, where it lies: guest memory, or the transport's buffer
 *
 *  output   OutHeader │ arguments │ …                         the transport writes the header
 *  room     where a READ may put what it reads: guest memory, or the transport's buffer
 * ```
 * A reply has `outputBytes` behind its header, or `roomBytes` bytes in `room`, not both.
 */
export class FuseRequest {
  readonly input: NativeBuffer;
  readonly in: DataView;
  /** Bytes of `input` that are the request's. */
  inputBytes = 0;
  readonly data = new IoVector();

  readonly output: NativeBuffer;
  readonly out: DataView;
  /** Most bytes that the asker takes behind the reply's header. */
  outputLimit = 0;
  /** Bytes of the reply behind its header, at OUT_ARGS of `output`. */
  outputBytes = 0;
  readonly room = new IoVector();
  /** Bytes of the reply that lie in `room`. */
  roomBytes = 0;

  // Of the header, decoded by the server before a handler sees the request.
  opcode = 0;
  /** Not a small integer at first: V8 would take it for one, and compile anew what has to do with it at the first large one. */
  nodeId = 2 ** 53;
  uid = 0;
  gid = 0;
  pid = 0;
  /** Where the extensions start in `input`; `inputBytes` when there are none. */
  extensionsAt = 0;
  /** Where names start in `input`, and their lengths without the NUL, as many as the operation has. */
  nameAt = 0;
  nameBytes = 0;
  secondNameAt = 0;
  secondNameBytes = 0;
  /** What kernel and server have agreed on at INIT; set by the server. */
  session: FuseSession | null = null;
  /** A server that was restarted has this request from before: it may have been carried out already. */
  isRepeated = false;

  /** Takes the request out of its turn: the transport's. The handler answers PARKED then. */
  park: () => ParkedReply = () => {
    throw new Error("this transport cannot park requests");
  };

  /** @param input and output: where a transport wants them to lie; at least INPUT_BYTES and OUTPUT_BYTES long. */
  constructor(input = allocAligned(INPUT_BYTES), output = allocAligned(OUTPUT_BYTES)) {
    this.input = input;
    this.in = viewOf(input);
    this.output = output;
    this.out = viewOf(output);
  }

  /** Address of the first name, a C string. */
  get name(): number {
    return this.input.address + this.nameAt;
  }
  /** Address of the second name, a C string. */
  get secondName(): number {
    return this.input.address + this.secondNameAt;
  }
}

/** Where a request's arguments start in `input`, and a reply's in `output`. */
export const IN_ARGS = InHeader.size;
export const OUT_ARGS = OutHeader.size;

function viewOf({ bytes }: NativeBuffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
