import { closeSync } from "node:fs";
import { BackendRequest, FLAG_REPLY, Header, U64, VERSION } from "../../formats/vhost-user/index.ts";
import { allocAligned, eventFd, memfd, socketPair, UnixSocket } from "../sys/index.ts";
import { ANSWER_BYTES } from "./channel-messages.ts";
import type { ChannelDescription } from "./data-plane.ts";
import { WINDOW_STATE_BYTES } from "./window-state.ts";

const BUFFER_BYTES = 4096;

/** A back-end channel whose front-end answers before it is asked: it is on the same thread. */
export class RehearsalChannel {
  readonly description: ChannelDescription;
  readonly lockFd = eventFd(1, true);
  readonly #frontEnd: UnixSocket;
  readonly #buffer = allocAligned(BUFFER_BYTES);
  readonly #dv = new DataView(this.#buffer.bytes.buffer, this.#buffer.bytes.byteOffset, BUFFER_BYTES);
  readonly #fds: number[] = [];

  constructor(windowBytes: number) {
    const [ours, theirs] = socketPair();
    this.#frontEnd = new UnixSocket(theirs);
    const stateFd = memfd("rehearsal", WINDOW_STATE_BYTES);
    this.description = { fd: ours, dialect: "shmem", acknowledged: true, windowBytes, stateFd };
  }

  /** Answers the next mapping, or the next one that goes, and the barrier behind it. */
  answer(isMap: boolean): void {
    while (this.#frontEnd.receive(this.#buffer.address, BUFFER_BYTES, this.#fds) > 0);
    for (const fd of this.#fds.splice(0)) closeSync(fd);
    this.#put(0, isMap ? BackendRequest.SHMEM_MAP : BackendRequest.SHMEM_UNMAP);
    this.#put(ANSWER_BYTES, BackendRequest.CONFIG_CHANGE);
    this.#frontEnd.send(this.#buffer.address, 2 * ANSWER_BYTES);
  }

  #put(at: number, request: number): void {
    this.#dv.setUint32(at + Header.at.request, request, true);
    this.#dv.setUint32(at + Header.at.flags, VERSION | FLAG_REPLY, true);
    this.#dv.setUint32(at + Header.at.size, U64.size, true);
    this.#dv.setBigUint64(at + Header.size, 0n, true);
  }

  close(): void {
    this.#frontEnd.close();
    for (const fd of [this.description.fd, this.description.stateFd, this.lockFd]) closeSync(fd);
  }
}
