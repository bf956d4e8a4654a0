import { closeSync } from "node:fs";
import {
  allocAligned,
  eventFd,
  MAX_MESSAGE_FDS,
  type NativeBuffer,
  POLLIN,
  POLLOUT,
  PollSet,
  signalEvent,
  UnixSocket,
  WOULD_BLOCK,
} from "../../sys/index.ts";

/** Longest message, in bytes: a memory table of some thousand regions. */
const MAX_MESSAGE_BYTES = 1 << 20;
/** Descriptors of one message at most. */
const MAX_FDS = 4096;
/** Two u32: bytes of the JSON text that follows, and descriptors of the message, which come before its last byte. */
const HEAD_BYTES = 8;
const READ_BYTES = 64 << 10;

export interface WireEvents {
  /** The descriptors are the receiver's. */
  message(body: unknown, fds: number[]): void;
  /** The other side is gone, or sends what makes no sense; once. */
  closed(reason: string): void;
}

/**
 * Messages of JSON with descriptors between two processes of this program, over a stream socket.
 *
 * Reading waits on libuv's thread pool and takes one of its threads. Sending waits until the kernel has taken it all: the
 * other side always reads.
 */
export class Wire {
  readonly #socket: UnixSocket;
  readonly #events: WireEvents;
  readonly #wakeFd = eventFd();
  readonly #poll = new PollSet(2);
  readonly #sendPoll = new PollSet(1);
  readonly #input: NativeBuffer = allocAligned(READ_BYTES);
  #pending = Buffer.alloc(0);
  #fds: number[] = [];
  #isClosed = false;

  /** @param fd the socket, which is the wire's from now on */
  constructor(fd: number, events: WireEvents) {
    this.#socket = new UnixSocket(fd);
    this.#events = events;
    this.#poll.add(fd, POLLIN);
    this.#poll.add(this.#wakeFd, POLLIN);
    this.#sendPoll.add(fd, POLLOUT);
    void this.#read();
  }

  /** Sends a message. Does nothing when the other side is gone: `closed` tells. */
  send(body: unknown, fds: readonly number[] = []): void {
    if (this.#isClosed) return;
    const text = Buffer.from(JSON.stringify(body));
    const message = allocAligned(HEAD_BYTES + text.length);
    message.bytes.writeUInt32LE(text.length, 0);
    message.bytes.writeUInt32LE(fds.length, 4);
    text.copy(message.bytes, HEAD_BYTES);
    // Descriptors need bytes to travel with: the first go with the head, the last at the latest with the last byte.
    const total = HEAD_BYTES + text.length;
    let sent = 0;
    for (let passed = 0; sent < total; ) {
      const group = fds.slice(passed, passed + MAX_MESSAGE_FDS);
      passed += group.length;
      const part = passed < fds.length ? 1 : total - sent;
      const done = this.#sendPart(message.address + sent, part, group);
      if (done < 0) return;
      sent += done;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    signalEvent(this.#wakeFd);
  }

  /** @returns bytes sent, -1 when the other side is gone */
  #sendPart(address: number, bytes: number, fds: readonly number[]): number {
    for (let done = 0; done < bytes; ) {
      const sent = this.#socket.send(address + done, bytes - done, done === 0 ? fds : []);
      if (sent > 0) done += sent;
      else if (sent === WOULD_BLOCK) this.#sendPoll.wait(-1);
      else return -1;
    }
    return bytes;
  }

  async #read(): Promise<void> {
    let reason = "";
    while (!this.#isClosed && reason === "") {
      await this.#poll.waitAsync(-1);
      if (!this.#isClosed) reason = this.#receive();
    }
    const wasOpen = !this.#isClosed;
    this.#isClosed = true;
    this.#socket.close();
    closeSync(this.#wakeFd);
    for (const fd of this.#fds) closeSync(fd);
    if (wasOpen) this.#events.closed(reason);
  }

  /** Takes what has come. @returns why this cannot go on, "" when it can */
  #receive(): string {
    for (;;) {
      const got = this.#socket.receive(this.#input.address, READ_BYTES, this.#fds);
      if (got === WOULD_BLOCK) return "";
      if (got === 0) return "the other side has closed";
      if (got < 0) return `recvmsg failed with error number ${-got}`;
      this.#pending = Buffer.concat([this.#pending, this.#input.bytes.subarray(0, got)]);
      const problem = this.#deliver();
      if (problem !== "" || this.#isClosed) return problem;
    }
  }

  #deliver(): string {
    while (this.#pending.length >= HEAD_BYTES) {
      const bytes = this.#pending.readUInt32LE(0);
      const count = this.#pending.readUInt32LE(4);
      if (bytes > MAX_MESSAGE_BYTES || count > MAX_FDS) return `a message of ${bytes} bytes and ${count} descriptors`;
      if (this.#pending.length < HEAD_BYTES + bytes) return "";
      if (this.#fds.length < count) return `a message of ${count} descriptors came with ${this.#fds.length}`;
      const body: unknown = JSON.parse(this.#pending.toString("utf8", HEAD_BYTES, HEAD_BYTES + bytes));
      this.#pending = this.#pending.subarray(HEAD_BYTES + bytes);
      this.#events.message(body, this.#fds.splice(0, count));
      if (this.#isClosed) return "";
    }
    return "";
  }
}
