import { fstatSync } from "node:fs";
import { BackendRequest, FsRequest } from "../../formats/vhost-user/index.ts";
import { PAGE_SIZE } from "../sys/index.ts";
import { ChannelLink, ETIMEDOUT } from "./channel-link.ts";
import type { ChannelDescription } from "./data-plane.ts";
import type { Remapper } from "./queue-handler.ts";
import { PENDING, RECORD, WindowState } from "./window-state.ts";
import type { WorkerSignal } from "./worker-signal.ts";

const EIO = 5;
const ENODEV = 19;
const EINVAL = 22;
const ENOSPC = 28;
const ENOSYS = 38;
/** A front-end that answers at all has answered a mark long before, in ms. */
const MARK_TIMEOUT_MS = 10_000;

/**
 * One worker's use of the back-end channel. Workers take turns. What is asked is entered as pending before it is sent and
 * struck out when it is answered, in order; so a worker that is interrupted leaves, and the next one reads the answer first.
 *
 * The answer to SHMEM_MAP comes before the front-end has changed the guest's memory. A second request right behind it is
 * answered after that: only then is the mapping told to the guest.
 */
export class BackendChannel implements Remapper {
  readonly #channel: ChannelDescription;
  readonly #link: ChannelLink;
  readonly #state: WindowState;
  /** The process that this worker is of: see WindowState.owner. */
  readonly #owner: number;
  #lastAnswer = 0;

  constructor(channel: ChannelDescription, lockFd: number, signal: WorkerSignal, owner = process.pid) {
    this.#owner = owner;
    this.#channel = channel;
    this.#link = new ChannelLink(channel, lockFd, signal);
    this.#state = new WindowState(channel.stateFd);
  }

  /** The channel is no longer to be used. */
  close(): void {
    this.#state.close();
  }

  map(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number {
    return this.#mapInside(fd, fdOffset, shmOffset, bytes, writable, false);
  }

  remap(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number {
    return this.#mapInside(fd, fdOffset, shmOffset, bytes, writable, true);
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
      this.#link.messages.clear();
      this.#link.messages.fs(FsRequest.FS_IO, fdOffset, guestAddress, bytes, toGuest, !toGuest);
      this.#state.addPending(PENDING.TRANSFER, -1, 0, 0);
      const result = this.#send(fd);
      return result !== 0 ? result : this.#lastAnswer;
    });
  }

  /** @param again it may be mapped, and is to be mapped once more */
  #mapInside(
    fd: number,
    fdOffset: number,
    shmOffset: number,
    bytes: number,
    writable: boolean,
    again: boolean,
  ): number {
    if (fdOffset % PAGE_SIZE !== 0 || !Number.isSafeInteger(fdOffset) || fdOffset < 0) return -EINVAL;
    if (!this.#isInside(shmOffset, bytes)) return -EINVAL;
    return this.#alone(() => this.#map(fd, fdOffset, shmOffset, bytes, writable, again));
  }

  #map(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean, again: boolean): number {
    const { dev, ino } = fstatSync(fd);
    const mapping = { shmOffset, bytes, fdOffset, dev, ino, writable };
    const other = this.#state.findOverlap(shmOffset, bytes);
    if (other >= 0 && !this.#state.isSame(other, mapping)) return -EINVAL;
    if (other >= 0 && !again) return 0;
    const record = other >= 0 ? other : this.#state.add(mapping);
    if (record < 0) return -ENOSPC;
    this.#link.messages.clear();
    this.#state.addPending(PENDING.MAP, record, shmOffset, bytes);
    if (this.#channel.dialect === "shmem") {
      this.#link.messages.shmem(true, fdOffset, shmOffset, bytes, writable);
      this.#barrier();
    } else this.#link.messages.fs(FsRequest.FS_MAP, fdOffset, shmOffset, bytes, true, writable);
    const result = this.#send(fd);
    if (result !== 0) return result;
    if (this.#state.stateOf(record) === RECORD.LIVE) return 0;
    if (!again) return -EIO;
    // Refused, so it is still there: that was the question.
    this.#state.setLive(record);
    return 0;
  }

  #unmap(record: number): number {
    this.#link.messages.clear();
    this.#unmapMessage(record, this.#state.shmOffsetOf(record), this.#state.bytesOf(record));
    this.#barrier();
    return this.#send(-1);
  }

  #unmapMessage(record: number, shmOffset: number, bytes: number): void {
    this.#state.addPending(PENDING.UNMAP, record, shmOffset, bytes);
    this.#unmapRequest(shmOffset, bytes);
  }

  #unmapRequest(shmOffset: number, bytes: number): void {
    if (this.#channel.dialect === "shmem") this.#link.messages.shmem(false, 0, shmOffset, bytes, false);
    else this.#link.messages.fs(FsRequest.FS_UNMAP, 0, shmOffset, bytes, false, false);
  }

  #barrier(): void {
    if (this.#channel.dialect !== "shmem") return;
    this.#state.addPending(PENDING.BARRIER, -1, 0, 0);
    this.#link.messages.barrier();
  }

  /** Sends what was put together and waits until all that is pending is answered. */
  #send(fd: number): number {
    const sent = this.#link.transmit(fd);
    if (sent !== 0) return sent === -ENODEV ? sent : this.#unsend(sent);
    return this.#channel.acknowledged ? this.#settle() : this.#assumeDone();
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
      const result = this.#link.receive();
      if (result !== 0) return result;
      const answer = this.#link.messages.answer(this.#requestOf(this.#state.pendingKind()));
      if (Number.isNaN(answer)) return this.#die();
      this.#apply(answer);
    }
    return 0;
  }

  /**
   * The first use in this process. A predecessor may have been killed between entering a request and sending it, or between
   * reading an answer and striking it out: what is pending says nothing then. So a mark is sent, three requests whose
   * answers no operation leaves in that order, and everything before its answers is dropped. What was being mapped or
   * unmapped is unmapped after that, whether it is there or not.
   */
  #takeOver(): number {
    const state = this.#state;
    if (state.owner !== 0 && this.#channel.acknowledged) {
      const marked = this.#awaitMark();
      if (marked !== 0) return marked;
    }
    for (let record = 0; record < state.records; record++) {
      if (state.stateOf(record) !== RECORD.ASKED && !state.isPending(record)) continue;
      const result = this.#unmapUnknown(record);
      if (result !== 0) return result;
    }
    while (state.pending > 0) state.dropPending();
    state.setOwner(this.#owner);
    return 0;
  }

  /** Unmaps a record that may not be mapped, aside from what is pending. */
  #unmapUnknown(record: number): number {
    const state = this.#state;
    this.#link.messages.clear();
    this.#unmapRequest(state.shmOffsetOf(record), state.bytesOf(record));
    const sent = this.#link.transmit(-1);
    if (sent !== 0) return sent;
    if (this.#channel.acknowledged) {
      const result = this.#link.receive(false);
      if (result !== 0) return result;
    }
    state.free(record);
    return 0;
  }

  /** Sends a mark, and reads answers until all marks that were ever sent are answered. */
  #awaitMark(): number {
    const { BARRIER, UNMAP } = PENDING;
    this.#link.messages.clear();
    this.#link.messages.barrier();
    this.#link.messages.barrier();
    // Outside of the window, so it is refused.
    this.#unmapRequest(this.#channel.windowBytes, PAGE_SIZE);
    this.#state.markSent();
    const sent = this.#link.transmit(-1);
    if (sent !== 0) return sent;
    const barrier = this.#requestOf(BARRIER);
    const unmap = this.#requestOf(UNMAP);
    for (let barriers = 0; this.#state.marksOpen > 0; ) {
      // Not given up half way: what was read is known here only.
      const result = this.#link.receive(barriers === 0, MARK_TIMEOUT_MS);
      // A predecessor that was killed in this very loop had read a part of the answers to its mark: nothing more comes.
      if (result === -ETIMEDOUT) this.#state.allMarksAnswered();
      if (result !== 0) return result === -ETIMEDOUT ? 0 : result;
      const request = this.#link.messages.answeredRequest;
      if (request === unmap && barriers >= 2 && this.#link.messages.answer(unmap) !== 0) this.#state.markAnswered();
      barriers = request === barrier ? barriers + 1 : 0;
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
      this.#link.messages.clear();
      this.#unmapMessage(-1, shmOffset, bytes);
      if (this.#link.transmit(-1) !== 0) this.#die();
    }
  }

  #alone(use: () => number): number {
    if (this.#state.isDead) return -ENODEV;
    const locked = this.#link.lock();
    if (locked !== 0) return locked;
    try {
      const settled = this.#state.owner === this.#owner ? this.#settle() : this.#takeOver();
      const result = settled !== 0 ? settled : use();
      return result === -ENODEV ? this.#die() : result;
    } finally {
      this.#link.unlock();
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
export const NO_WINDOW: Remapper = {
  map: () => -ENODEV,
  remap: () => -ENODEV,
  unmap: () => -ENODEV,
  unmapAll: () => -ENODEV,
  transfer: () => -ENODEV,
};
