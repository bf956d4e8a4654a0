import { closeSync } from "node:fs";
import {
  decodeRequest,
  FLAG_REPLY,
  Header,
  MAX_PAYLOAD_BYTES,
  type RequestHeader,
  VERSION,
} from "../../formats/vhost-user/index.ts";
import { allocAligned, POLLIN, PollSet, signalEvent, UnixSocket, WOULD_BLOCK } from "../sys/index.ts";

/** A request of the front-end. Its payload is valid until the next one is read. */
export interface Message extends RequestHeader {
  readonly payload: Uint8Array;
  /** Descriptors that came along. They belong to the receiver; what is left in the array is closed. */
  readonly fds: number[];
}

const REPLY_AT = Header.size + MAX_PAYLOAD_BYTES;

/** The socket to the front-end, in whole messages. It never waits on the calling thread. */
export class MessageSocket {
  readonly #socket: UnixSocket;
  readonly #memory = allocAligned(REPLY_AT + Header.size + MAX_PAYLOAD_BYTES);
  readonly #wakeFd: number;
  #isEnding = false;

  /** @param wakeFd an eventfd that ends a wait, see `end` */
  constructor(fd: number, wakeFd: number) {
    this.#socket = new UnixSocket(fd);
    this.#wakeFd = wakeFd;
  }

  /** Makes `receive` return null as soon as it can. */
  end(): void {
    this.#isEnding = true;
    signalEvent(this.#wakeFd);
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * The next message; null when the front-end has closed or `end` was called.
   * @throws FormatError for what is no request; SysError when the connection fails
   */
  async receive(): Promise<Message | null> {
    const fds: number[] = [];
    try {
      const { bytes } = this.#memory;
      if (!(await this.#fill(0, Header.size, fds))) return null;
      const header = decodeRequest(bytes.subarray(0, Header.size), fds.length);
      const before = fds.length;
      if (!(await this.#fill(Header.size, header.bytes, fds))) return null;
      if (fds.length !== before) throw new Error(`${header.shape.name}: descriptors in the middle of a message`);
      return { ...header, payload: bytes.subarray(Header.size, Header.size + header.bytes), fds: fds.splice(0) };
    } finally {
      for (const fd of fds) closeSync(fd);
    }
  }

  /**
   * Answers a request.
   * @throws Error when the front-end does not read its replies, or is gone
   */
  reply(request: number, payload: Uint8Array, fds: readonly number[] = []): void {
    const { bytes, address } = this.#memory;
    const header = Header.view(bytes, REPLY_AT);
    header.request = request;
    header.flags = VERSION | FLAG_REPLY;
    header.size = payload.length;
    bytes.set(payload, REPLY_AT + Header.size);
    const length = Header.size + payload.length;
    const sent = this.#socket.send(address + REPLY_AT, length, fds);
    if (sent !== length) throw new Error(`the front-end takes no replies (${sent} of ${length} bytes sent)`);
  }

  async #fill(at: number, bytes: number, fds: number[]): Promise<boolean> {
    for (let got = 0; got < bytes; ) {
      if (this.#isEnding) return false;
      const result = this.#socket.receive(this.#memory.address + at + got, bytes - got, fds);
      if (result > 0) got += result;
      else if (result === WOULD_BLOCK) await this.#wait();
      else return false;
    }
    return true;
  }

  async #wait(): Promise<void> {
    const poll = new PollSet(2);
    poll.add(this.#socket.fd, POLLIN);
    poll.add(this.#wakeFd, POLLIN);
    await poll.waitAsync(-1);
  }
}
