import { closeSync } from "node:fs";
import { POLLIN, POLLOUT, PollSet, signalEvent, takeEvent, UnixSocket, WOULD_BLOCK } from "../sys/index.ts";
import { ANSWER_BYTES, ChannelMessages } from "./channel-messages.ts";
import type { ChannelDescription } from "./data-plane.ts";
import type { WorkerSignal } from "./worker-signal.ts";

const EINTR = 4;
const ENODEV = 19;
export const ETIMEDOUT = 110;

/**
 * One worker's hold of the back-end channel: whole messages there, whole answers back, and the lock by which workers take
 * turns. Results are 0, -EINTR when a command waits that must not be kept waiting, -ENODEV when the channel is gone.
 */
export class ChannelLink {
  readonly messages: ChannelMessages;
  readonly #fd: number;
  readonly #socket: UnixSocket;
  /** An eventfd that counts to 1, so that one poll waits for it and for the worker's signal. */
  readonly #lockFd: number;
  readonly #signal: WorkerSignal;
  /** Place 0: the channel or its lock; place 1: the worker's signal. */
  readonly #poll = new PollSet(2);
  readonly #strayFds: number[] = [];

  constructor(channel: ChannelDescription, lockFd: number, signal: WorkerSignal) {
    this.messages = new ChannelMessages(channel.acknowledged);
    this.#fd = channel.fd;
    this.#socket = new UnixSocket(channel.fd);
    this.#lockFd = lockFd;
    this.#signal = signal;
    this.#poll.add(lockFd, POLLIN);
    this.#poll.add(signal.fd, POLLIN);
  }

  lock(): number {
    while (!takeEvent(this.#lockFd)) {
      const waited = this.#wait(this.#lockFd, POLLIN, true);
      if (waited !== 0) return waited;
    }
    return 0;
  }

  unlock(): void {
    signalEvent(this.#lockFd);
  }

  /** Sends what was put together, with `fd` unless that is -1. */
  transmit(fd: number): number {
    const { address, bytes } = this.messages;
    const fds = fd < 0 ? [] : [fd];
    for (let sent = 0; sent < bytes; ) {
      const result = this.#socket.send(address + sent, bytes - sent, sent === 0 ? fds : []);
      if (result > 0) sent += result;
      else if (result !== WOULD_BLOCK) return -ENODEV;
      else {
        // The front-end does not read. Half a message cannot be taken back, so only before its first byte may one leave.
        const waited = this.#wait(this.#fd, POLLOUT, sent === 0);
        if (waited !== 0) return waited;
      }
    }
    return 0;
  }

  /** Reads one answer. An interruption may end the wait for its first byte only, if it may at all. */
  receive(interruptible = true, timeoutMs = -1): number {
    for (let got = 0; got < ANSWER_BYTES; ) {
      const result = this.#socket.receive(this.messages.answerAddress + got, ANSWER_BYTES - got, this.#strayFds);
      for (const fd of this.#strayFds.splice(0)) closeSync(fd);
      if (result > 0) got += result;
      else if (result !== WOULD_BLOCK) return -ENODEV;
      else {
        const waited = this.#wait(this.#fd, POLLIN, interruptible && got === 0, timeoutMs);
        if (waited !== 0) return waited;
      }
    }
    return 0;
  }

  /** Waits for `fd`. @returns 0, -EINTR when a command waits that must not be kept waiting, -ETIMEDOUT */
  #wait(fd: number, events: number, interruptible: boolean, timeoutMs = -1): number {
    this.#poll.set(0, fd, events);
    this.#poll.set(1, interruptible ? this.#signal.fd : -1, POLLIN);
    const end = timeoutMs < 0 ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
    for (;;) {
      if (interruptible && this.#signal.isInterrupted) return -EINTR;
      this.#poll.wait(timeoutMs);
      if (this.#poll.ready(0) !== 0) return 0;
      if (performance.now() >= end) return -ETIMEDOUT;
      // Commands that can wait are found by their count, not by this event.
      if (this.#poll.ready(1) !== 0) takeEvent(this.#signal.fd);
    }
  }
}
