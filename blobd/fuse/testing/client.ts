import type { FieldTable, Struct, StructView } from "../../../formats/bytes/index.ts";
import { InHeader, InitFlag, InitIn, Opcode } from "../../../formats/fuse/index.ts";
import { allocAligned } from "../../sys/index.ts";
import {
  type FileSystem,
  FuseRequest,
  FuseServer,
  IN_ARGS,
  INPUT_BYTES,
  OUT_ARGS,
  OUTPUT_BYTES,
  SESSION_WORDS,
} from "../index.ts";

/** A request in parts. Everything but the opcode may be left out. */
export interface Call {
  readonly nodeId?: number;
  /** The operation's argument structure; see `fill`. */
  readonly args?: Uint8Array;
  readonly names?: readonly (string | Uint8Array)[];
  /** What follows the names in `input`: an attribute's value, nodes to forget. */
  readonly rest?: Uint8Array;
  /** What a WRITE writes. */
  readonly data?: Uint8Array;
  /** Extensions, a multiple of 8 bytes. */
  readonly extensions?: Uint8Array;
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  /** Most bytes of the reply behind its header; also how many a READ has room for. */
  readonly limit?: number;
  readonly isRepeated?: boolean;
}

/** Bytes of a structure with these fields set and all others zero. */
export function fill<T extends FieldTable>(type: Struct<T>, fields: Partial<StructView<T>>): Uint8Array {
  const bytes = new Uint8Array(type.size);
  Object.assign(type.view(bytes), fields);
  return bytes;
}

/** A kernel's side of a mount without a kernel: sends requests straight into a server, and keeps the reply for the test. */
export class TestClient {
  readonly server: FuseServer;
  readonly request: FuseRequest;
  /** Lines that the server logged. */
  readonly log: string[] = [];
  readonly #data = allocAligned(OUTPUT_BYTES);
  readonly #room = allocAligned(OUTPUT_BYTES);
  #unique = 2n;

  /** @param session given when several clients stand for several threads of one mount. */
  constructor(fileSystem: FileSystem, session: Int32Array = new Int32Array(SESSION_WORDS), hasWindow = false) {
    this.server = new FuseServer(fileSystem, { session, hasWindow, log: (line) => this.log.push(line) });
    this.request = new FuseRequest(allocAligned(INPUT_BYTES), allocAligned(OUTPUT_BYTES));
  }

  /** INIT as Linux 6.18 sends it, offering everything. */
  init(flags: number = ~InitFlag.MAP_ALIGNMENT, flags2 = ~0): number {
    return this.call(Opcode.INIT, {
      args: fill(InitIn, { major: 7, minor: 45, maxReadahead: 1 << 20, flags: flags >>> 0, flags2: flags2 >>> 0 }),
    });
  }

  /** Sends a request. @returns the status; the reply is at `reply` until the next call. */
  call(opcode: number, call: Call): number {
    const { request } = this;
    const names = (call.names ?? []).flatMap((name) => [Buffer.from(name as string), Buffer.from([0])]);
    const body = Buffer.concat([call.args ?? [], ...names, call.rest ?? [], call.extensions ?? []].map(Buffer.from));
    const data = call.data ?? Buffer.alloc(0);
    const header = InHeader.view(request.input.bytes);
    header.len = IN_ARGS + body.length + data.length;
    header.opcode = opcode;
    header.unique = this.#unique;
    this.#unique += 2n;
    header.nodeid = call.nodeId ?? 1;
    header.uid = call.uid ?? 0;
    header.gid = call.gid ?? 0;
    header.pid = call.pid ?? process.pid;
    header.totalExtlen = (call.extensions?.length ?? 0) / 8;
    header.padding = 0;
    request.input.bytes.set(body, IN_ARGS);
    request.isRepeated = call.isRepeated ?? false;
    return this.#send(IN_ARGS + body.length, data, call.limit ?? OUTPUT_BYTES - OUT_ARGS);
  }

  /** Sends bytes as they are: whatever a hostile guest would. */
  raw(input: Uint8Array, data: Uint8Array = Buffer.alloc(0), limit = OUTPUT_BYTES - OUT_ARGS): number {
    this.request.input.bytes.set(input);
    this.request.isRepeated = false;
    return this.#send(input.length, data, limit);
  }

  /** The `unique` of the request that was sent last. */
  get lastUnique(): bigint {
    return this.#unique - 2n;
  }

  /** The reply's bytes behind its header. They are overwritten by the next call. */
  get reply(): Buffer {
    const { request } = this;
    if (request.roomBytes > 0) return this.#room.bytes.subarray(0, request.roomBytes);
    return request.output.bytes.subarray(OUT_ARGS, OUT_ARGS + request.outputBytes);
  }

  #send(inputBytes: number, data: Uint8Array, limit: number): number {
    const { request } = this;
    request.inputBytes = inputBytes;
    request.outputLimit = Math.min(limit, OUTPUT_BYTES - OUT_ARGS);
    request.data.clear();
    this.#data.bytes.set(data);
    // In two pieces, as guest memory comes.
    const half = data.length >> 1;
    if (half > 0) request.data.add(this.#data.address, half);
    if (data.length > half) request.data.add(this.#data.address + half, data.length - half);
    request.room.clear();
    request.room.add(this.#room.address, request.outputLimit);
    return this.server.handle(request);
  }
}
