import { closeSync, fstatSync } from "node:fs";
import { BackendRequest, FsRequest } from "../../formats/vhost-user/index.ts";
import { PAGE_SIZE, POLLIN, POLLOUT, PollSet, signalEvent, takeEvent, UnixSocket, WOULD_BLOCK } from "../sys/index.ts";
import { ANSWER_BYTES, ChannelMessages } from "./channel-messages.ts";
import type { ChannelDescription } from "./data-plane.ts";
import type { ShmemMapper } from "./queue-handler.ts";
import { PENDING, RECORD, WindowState } from "./window-state.ts";
import type { WorkerSignal } from "./worker-signal.ts";

const EINTR = 4;
const EIO = 5;
const ENODEV = 19;
const EINVAL = 22;
const ENOSPC = 28;
const ENOSYS = 38;

/**
 * One worker's use of the back-end channel. Workers take turns by a lock (an eventfd that counts to 1, so that one poll waits
 * for it and for the worker's own signal). What is asked is entered as pending before it is sent and struck out when it is
 * answered, in order; so a worker that is interrupted leaves, and the next one reads the answer first.
 *
 * The answer to SHMEM_MAP comes before the front-end has changed the guest's memory. A second request right behind it is
 * answered after that: only then is the mapping told to the guest.
 */
export class BackendChannel implements ShmemMapper {
  readonly #channel: ChannelDescription;
  readonly #socket: UnixSocket;
  readonly #lockFd: number;
  readonly #signal: WorkerSignal;
  readonly #state: WindowState;
  readonly #messages: ChannelMessages;
  /** Place 0: the channel or its lock; place 1: the worker's signal. */
  readonly #poll = new PollSet(2);
  readonly #strayFds: number[] = [];
  #lastAnswer = 0;

  constructor(channel: ChannelDescription, lockFd: number, signal: WorkerSignal) {
    this.#channel = channel;
    this.#socket = new UnixSocket(channel.fd);
    this.#lockFd = lockFd;
    this.#signal = signal;
    this.#state = new WindowState(channel.stateFd);
    this.#messages = new ChannelMessages(channel.acknowledged);
    this.#poll.add(lockFd, POLLIN);
    this.#poll.add(signal.fd, POLLIN);
  }

  /** The channel is no longer to be used. */
  close(): void {
    this.#state.close();
  }

  map(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number {
    if (fdOffset % PAGE_SIZE !== 0 || !Number.isSafeInteger(fdOffset) || fdOffset < 0) return -EINVAL;
    if (!this.#isInside(shmOffset, bytes)) return -EINVAL;
    return this.#alone(() => this.#map(fd, fdOffset, shmOffset, bytes, writable));
  }

  unmap(shmOffset: number, bytes: number): number {
    if (!this.#isInside(shmOffset, bytes)) return -EINVAL;
    return this.#alone(() => {
      const record = this.#state.findOverlap(shmOffset, bytes);
      if (record < 0) return 0;
      if (this.#state.shmOffsetOf(record) !== shmOffset || this.#state.bytesOf(record) !== bytes) return -EINVAL;
      return this.#unmap(record);
    });
  }

  unmapAll(): number {
    return this.#alone(() => {
      let result = 0;
      for (let record = this.#state.records - 1; record >= 0 && result === 0; record--)
        if (this.#state.stateOf(record) !== RECORD.FREE) result = this.#unmap(record);
      return result;
    });
  }

  transfer(fd: number, fdOffset: number, guestAddress: number, bytes: number, toGuest: boolean): number {
    if (this.#channel.dialect !== "fs" || !this.#channel.acknowledged) return -ENOSYS;
    return this.#alone(() => {
      this.#messages.clear();
      this.#messages.fs(FsRequest.FS_IO, fdOffset, guestAddress, bytes, toGuest, !toGuest);
      this.#state.addPending(PENDING.TRANSFER, -1, 0, 0);
      const result = this.#send(fd);
      return result !== 0 ? result : this.#lastAnswer;
    });
  }

  #map(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number {
    const { dev, ino } = fstatSync(fd);
    const mapping = { shmOffset, bytes, fdOffset, dev, ino, writable };
    const other = this.#state.findOverlap(shmOffset, bytes);
    if (other >= 0) return this.#state.isSame(other, mapping) ? 0 : -EINVAL;
    const record = this.#state.add(mapping);
    if (record < 0) return -ENOSPC;
    this.#messages.clear();
    this.#state.addPending(PENDING.MAP, record, shmOffset, bytes);
    if (this.#channel.dialect === "shmem") {
      this.#messages.shmem(true, fdOffset, shmOffset, bytes, writable);
      this.#barrier();
    } else this.#messages.fs(FsRequest.FS_MAP, fdOffset, shmOffset, bytes, true, writable);
    const result = this.#send(fd);
    if (result !== 0) return result;
    return this.#state.stateOf(record) === RECORD.LIVE ? 0 : -EIO;
  }

  #unmap(record: number): number {
    this.#messages.clear();
    this.#unmapMessage(record, this.#state.shmOffsetOf(record), this.#state.bytesOf(record));
    this.#barrier();
    return this.#send(-1);
  }

  #unmapMessage(record: number, shmOffset: number, bytes: number): void {
    this.#state.addPending(PENDING.UNMAP, record, shmOffset, bytes);
    if (this.#channel.dialect === "shmem") this.#messages.shmem(false, 0, shmOffset, bytes, false);
    else this.#messages.fs(FsRequest.FS_UNMAP, 0, shmOffset, bytes, false, false);
  }

  #barrier(): void {
    if (this.#channel.dialect !== "shmem") return;
    this.#state.addPending(PENDING.BARRIER, -1, 0, 0);
    this.#messages.barrier();
  }

  /** Sends what was put together and waits until all that is pending is answered. */
  #send(fd: number): number {
    const { address, bytes } = this.#messages;
    const fds = fd < 0 ? [] : [fd];
    for (let sent = 0; sent < bytes; ) {
      const result = this.#socket.send(address + sent, bytes - sent, sent === 0 ? fds : []);
      if (result > 0) sent += result;
      else if (result !== WOULD_BLOCK) return this.#die();
      else {
        // The front-end does not read. Half a message cannot be taken back, so only before its first byte may one leave.
        const waited = this.#wait(this.#channel.fd, POLLOUT, sent === 0);
        if (waited !== 0) return this.#unsend(waited);
      }
    }
    if (!this.#channel.acknowledged) return this.#assumeDone();
    return this.#settle();
  }

  /** Nothing was sent: what was entered as pending is struck out again. */
  #unsend(result: number): number {
    while (this.#state.pending > 0) {
      const record = this.#state.pendingRecord();
      if (this.#state.pendingKind() === PENDING.MAP && record >= 0) this.#state.free(record);
      this.#state.dropPending();
    }
    return result;
  }

  /** Without answers, what was asked is taken as done. */
  #assumeDone(): number {
    while (this.#state.pending > 0) this.#apply(0);
    return 0;
  }

  /** Reads the answers to all that is pending. */
  #settle(): number {
    while (this.#state.pending > 0) {
      const result = this.#receive();
      if (result !== 0) return result;
      const answer = this.#messages.answer(this.#requestOf(this.#state.pendingKind()));
      if (Number.isNaN(answer)) return this.#die();
      this.#apply(answer);
    }
    return 0;
  }

  #requestOf(kind: number): number {
    const shmem = this.#channel.dialect === "shmem";
    if (kind === PENDING.MAP) return shmem ? BackendRequest.SHMEM_MAP : FsRequest.FS_MAP;
    if (kind === PENDING.UNMAP) return shmem ? BackendRequest.SHMEM_UNMAP : FsRequest.FS_UNMAP;
    return kind === PENDING.BARRIER ? BackendRequest.CONFIG_CHANGE : FsRequest.FS_IO;
  }

  /** Strikes out the first pending request, which was answered. */
  #apply(answer: number): void {
    const state = this.#state;
    const kind = state.pendingKind();
    const record = state.pendingRecord();
    const shmOffset = state.pendingShmOffset();
    const bytes = state.pendingBytes();
    state.dropPending();
    if (kind === PENDING.TRANSFER) this.#lastAnswer = answer;
    else if (kind === PENDING.UNMAP && record >= 0) {
      // A refusal means that the front-end has dropped it already, at a reset of the device.
      state.free(record);
    } else if (kind === PENDING.MAP && record >= 0) {
      if (answer === 0) state.setLive(record);
      else state.free(record);
    } else if (kind === PENDING.MAP && answer === 0) {
      // Mapped after the reset that has forgotten it.
      this.#messages.clear();
      this.#unmapMessage(-1, shmOffset, bytes);
      if (this.#socket.send(this.#messages.address, this.#messages.bytes) !== this.#messages.bytes) this.#die();
    }
  }

  /** Reads one answer. An interruption may end the wait for its first byte only. */
  #receive(): number {
    for (let got = 0; got < ANSWER_BYTES; ) {
      const result = this.#socket.receive(this.#messages.answerAddress + got, ANSWER_BYTES - got, this.#strayFds);
      for (const fd of this.#strayFds.splice(0)) closeSync(fd);
      if (result > 0) got += result;
      else if (result !== WOULD_BLOCK) return this.#die();
      else {
        const waited = this.#wait(this.#channel.fd, POLLIN, got === 0);
        if (waited !== 0) return waited;
      }
    }
    return 0;
  }

  #alone(use: () => number): number {
    if (this.#state.isDead) return -ENODEV;
    while (!takeEvent(this.#lockFd)) {
      const waited = this.#wait(this.#lockFd, POLLIN, true);
      if (waited !== 0) return waited;
    }
    try {
      const settled = this.#settle();
      return settled !== 0 ? settled : use();
    } finally {
      signalEvent(this.#lockFd);
    }
  }

  /** Waits for `fd`. @returns 0, or -EINTR when a command waits that must not be kept waiting */
  #wait(fd: number, events: number, interruptible: boolean): number {
    this.#poll.set(0, fd, events);
    this.#poll.set(1, interruptible ? this.#signal.fd : -1, POLLIN);
    for (;;) {
      if (interruptible && this.#signal.isInterrupted) return -EINTR;
      this.#poll.wait(-1);
      if (this.#poll.ready(0) !== 0) return 0;
      // Commands that can wait are found by their count, not by this event.
      if (this.#poll.ready(1) !== 0) takeEvent(this.#signal.fd);
    }
  }

  #die(): number {
    this.#state.setDead();
    return -ENODEV;
  }

  #isInside(shmOffset: number, bytes: number): boolean {
    const { windowBytes } = this.#channel;
    return (
      Number.isSafeInteger(shmOffset) &&
      Number.isSafeInteger(bytes) &&
      shmOffset >= 0 &&
      bytes > 0 &&
      shmOffset % PAGE_SIZE === 0 &&
      bytes % PAGE_SIZE === 0 &&
      shmOffset + bytes <= windowBytes
    );
  }
}

/** The window of a device whose front-end has none. */
export const NO_WINDOW: ShmemMapper = {
  map: () => -ENODEV,
  unmap: () => -ENODEV,
  unmapAll: () => -ENODEV,
  transfer: () => -ENODEV,
};
