import { constants } from "node:os";
import { InHeader, Opcode, OutHeader, WriteIn } from "../../../formats/fuse/index.ts";
import {
  allocAligned,
  type NativeBuffer,
  POLLIN,
  PollSet,
  readTo,
  SysError,
  setNonBlocking,
  writeFrom,
} from "../../sys/index.ts";
import {
  FuseRequest,
  type FuseServer,
  IN_ARGS,
  MAX_WRITE_BYTES,
  NO_REPLY,
  OUT_ARGS,
  OUTPUT_BYTES,
  PARKED,
} from "../index.ts";
import { endingOnPage } from "./page-end.ts";

const { EAGAIN, EINTR, EINVAL, ENOENT, ENODEV, ECONNABORTED } = constants.errno;

/** Bytes before what a WRITE writes. */
const WRITE_HEADER_BYTES = IN_ARGS + WriteIn.size;
/** The kernel gives a request only to a buffer that holds the largest. */
const READ_BYTES = WRITE_HEADER_BYTES + MAX_WRITE_BYTES;

/**
 * One thread's end of a mount: reads a request, has it handled, writes the reply.
 *
 * A request is one read(2), a reply one write(2), and both lie so that their data starts on a page: a file opened with
 * O_DIRECT is read and written from here without another copy.
 * ```
 *           ┌ page                                ┌ page
 *  input    │ … InHeader │ WriteIn │ data…        │
 *  output   │ …          │ OutHeader │ data…
 * ```
 * The thread waits in read(2), of which Linux wakes one for a request; in poll(2) it would wake them all. Only while the
 * thread has parked requests, and so must look after them from time to time, does it poll; or when others read the descriptor too.
 */
export class DeviceChannel {
  readonly #fd: number;
  readonly #server: FuseServer;
  readonly #log: (line: string) => void;
  readonly #request = new FuseRequest(
    endingOnPage(WRITE_HEADER_BYTES, READ_BYTES),
    endingOnPage(OUT_ARGS, OUTPUT_BYTES),
  );
  readonly #poll = new PollSet(1);
  /** For data of parked requests. */
  #late: NativeBuffer | null = null;
  #parked = 0;
  #isPolling = false;

  readonly #isShared: boolean;

  /** @param isShared other threads read `fd` too: then no read may wait, for what one has seen another may have taken */
  constructor(fd: number, server: FuseServer, log: (line: string) => void, isShared = false) {
    this.#fd = fd;
    this.#isShared = isShared;
    this.#server = server;
    this.#log = log;
    this.#poll.add(fd, POLLIN);
    this.#request.park = () => this.#park();
  }

  /**
   * Serves until the mount is gone.
   * @throws SysError when the device fails otherwise.
   */
  run(): void {
    const { address } = this.#request.input;
    if (this.#isShared) this.#setPolling(true);
    for (;;) {
      if (this.#parked > 0) this.#waitWithParked();
      else if (this.#isShared) this.#poll.wait(-1);
      else if (this.#isPolling) this.#setPolling(false);
      const bytes = readTo(this.#fd, address, READ_BYTES);
      if (bytes > 0) this.#serve(bytes);
      else if (bytes === -ENODEV || bytes === -ECONNABORTED) return;
      // ENOENT: the request was taken back while it was read.
      else if (bytes !== -EINTR && bytes !== -EAGAIN && bytes !== -ENOENT)
        throw new SysError("read", `errno ${-bytes}`, -bytes, "/dev/fuse");
    }
  }

  #serve(bytes: number): void {
    const request = this.#request;
    const { input, output, data, room } = request;
    data.clear();
    room.clear();
    const opcode = request.in.getUint32(InHeader.at.opcode, true);
    if (opcode === Opcode.WRITE && bytes > WRITE_HEADER_BYTES) {
      request.inputBytes = WRITE_HEADER_BYTES;
      data.add(input.address + WRITE_HEADER_BYTES, bytes - WRITE_HEADER_BYTES);
    } else request.inputBytes = bytes;
    request.outputLimit = OUTPUT_BYTES - OUT_ARGS;
    if (opcode === Opcode.READ) room.add(output.address + OUT_ARGS, MAX_WRITE_BYTES);
    const status = this.#server.handle(request);
    if (status === PARKED || status === NO_REPLY) return;
    // Data in `room` lies where a reply's arguments do.
    const length = status < 0 ? OUT_ARGS : OUT_ARGS + Math.max(request.outputBytes, request.roomBytes);
    const { out } = request;
    out.setUint32(OutHeader.at.len, length, true);
    out.setInt32(OutHeader.at.error, status, true);
    out.setUint32(OutHeader.at.unique, request.in.getUint32(InHeader.at.unique, true), true);
    out.setUint32(OutHeader.at.unique + 4, request.in.getUint32(InHeader.at.unique + 4, true), true);
    this.#send(output.address, length, opcode);
  }

  #send(address: number, length: number, opcode: number): void {
    let sent: number;
    do sent = writeFrom(this.#fd, address, length);
    while (sent === -EINTR);
    // ENOENT: nobody waits any longer. A reply refused would leave its asker waiting for ever: answer with an error.
    if (sent !== -EINVAL) return;
    const { out, output } = this.#request;
    this.#log(`the kernel refused a reply of ${length} bytes to opcode ${opcode}`);
    out.setUint32(OutHeader.at.len, OUT_ARGS, true);
    out.setInt32(OutHeader.at.error, -constants.errno.EIO, true);
    if (address === output.address && length > OUT_ARGS) writeFrom(this.#fd, address, OUT_ARGS);
  }

  #park() {
    const { in: dv } = this.#request;
    const unique = dv.getBigUint64(InHeader.at.unique, true);
    const reply = allocAligned(OUT_ARGS);
    this.#parked++;
    let isOwed = true;
    const answer = (memory: NativeBuffer, length: number, status: number) => {
      if (!isOwed) throw new Error(`request ${unique} is answered twice`);
      isOwed = false;
      this.#parked--;
      const header = OutHeader.view(memory.bytes);
      header.len = length;
      header.error = status;
      header.unique = unique;
      this.#send(memory.address, length, 0);
    };
    return {
      unique,
      finish: (status: number) => answer(reply, OUT_ARGS, status),
      finishRead: (bytes: number, fill: (address: number, bytes: number) => number) => {
        // One at a time, and sent at once: one buffer does for all.
        this.#late ??= endingOnPage(OUT_ARGS, OUT_ARGS + MAX_WRITE_BYTES);
        const got = fill(this.#late.address + OUT_ARGS, Math.min(bytes, MAX_WRITE_BYTES));
        if (got < 0) answer(reply, OUT_ARGS, got);
        else answer(this.#late, OUT_ARGS + got, 0);
      },
    };
  }

  /** Waits for a request, and looks after what is parked. */
  #waitWithParked(): void {
    const waitMs = this.#server.resume();
    if (this.#parked === 0) return;
    if (!this.#isPolling) this.#setPolling(true);
    this.#poll.wait(waitMs);
  }

  #setPolling(isPolling: boolean): void {
    setNonBlocking(this.#fd, isPolling);
    this.#isPolling = isPolling;
  }
}
