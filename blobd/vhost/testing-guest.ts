/** A guest for tests: memory, and the driver's side of split virtqueues. Not part of the folder's door. */
import { closeSync } from "node:fs";
import type { Region } from "../../formats/vhost-user/index.ts";
import {
  availEventAt,
  availRingBytes,
  Desc,
  DescFlag,
  descTableBytes,
  needEvent,
  usedEventAt,
  usedRingBytes,
} from "../../formats/virtio/index.ts";
import {
  eventFd,
  mapShared,
  memfd,
  POLLIN,
  PollSet,
  signalEvent,
  takeEvent,
  unmapShared,
  viewMemory,
} from "../sys/index.ts";

/** What guest addresses are to the front-end: opaque. */
export const USER_BASE = 0x7e00_0000_0000;
/** Guest memory comes in two regions, with a hole between them, as on a PC. */
const LOW_BYTES = 8 << 20;
const HIGH_BYTES = 8 << 20;
const HIGH_AT = 0x1_0000_0000;

/** Guest memory: one memfd, mapped here as the guest would see it. */
export class GuestRam {
  readonly fd = memfd("guest-ram", LOW_BYTES + HIGH_BYTES);
  readonly #address = mapShared(this.fd, 0, LOW_BYTES + HIGH_BYTES);
  readonly bytes = Buffer.from(viewMemory(this.#address, LOW_BYTES + HIGH_BYTES));
  readonly dv = new DataView(this.bytes.buffer);
  readonly regions: readonly Region[] = [
    { guestAddress: 0, bytes: LOW_BYTES, userAddress: USER_BASE, fdOffset: 0 },
    { guestAddress: HIGH_AT, bytes: HIGH_BYTES, userAddress: USER_BASE + HIGH_AT, fdOffset: LOW_BYTES },
  ];
  #next = 4096;

  /** Room in the low region. @returns its guest address, which is its offset in `bytes` too */
  allocate(bytes: number, align = 64): number {
    const at = Math.ceil(this.#next / align) * align;
    this.#next = at + bytes;
    if (this.#next > LOW_BYTES) throw new Error("the guest's memory is full");
    return at;
  }

  close(): void {
    unmapShared(this.#address, LOW_BYTES + HIGH_BYTES);
    closeSync(this.fd);
  }
}

/** The high region's start: its guest address, and its offset in `GuestRam.bytes`. */
export const HIGH = { address: HIGH_AT, offset: LOW_BYTES } as const;

/** A piece of a request. */
export interface Piece {
  readonly address: number;
  readonly bytes: number;
  readonly writable?: boolean;
}

/** The driver's side of a virtqueue. */
export class DriverQueue {
  readonly ram: GuestRam;
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly kickFd = eventFd();
  readonly callFd = eventFd();
  readonly eventIdx: boolean;
  readonly #avail16: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #free: number[] = [];
  readonly #links = new Map<number, number[]>();
  #availIndex = 0;
  #usedIndex = 0;
  kicks = 0;
  calls = 0;

  constructor(ram: GuestRam, size: number, eventIdx = true) {
    this.ram = ram;
    this.size = size;
    this.eventIdx = eventIdx;
    this.desc = ram.allocate(descTableBytes(size), 16);
    this.avail = ram.allocate(availRingBytes(size), 2);
    this.used = ram.allocate(usedRingBytes(size), 4);
    this.#avail16 = new Uint16Array(ram.dv.buffer, this.avail, availRingBytes(size) / 2);
    this.#used16 = new Uint16Array(ram.dv.buffer, this.used, usedRingBytes(size) / 2);
    this.reset();
  }

  /** As after a reset of the device: a new ring at the old place. */
  reset(): void {
    const { bytes } = this.ram;
    bytes.fill(0, this.desc, this.desc + descTableBytes(this.size));
    bytes.fill(0, this.avail, this.avail + availRingBytes(this.size));
    bytes.fill(0, this.used, this.used + usedRingBytes(this.size));
    this.#availIndex = 0;
    this.#usedIndex = 0;
    this.#links.clear();
    this.#free.length = 0;
    for (let i = this.size - 1; i >= 0; i--) this.#free.push(i);
  }

  /** Writes a descriptor, anything it may be. */
  writeDesc(at: number, address: number, bytes: number, flags: number, next = 0): void {
    const { dv } = this.ram;
    dv.setUint32(at, address >>> 0, true);
    dv.setUint32(at + 4, Math.floor(address / 0x1_0000_0000), true);
    dv.setUint32(at + Desc.at.len, bytes, true);
    dv.setUint16(at + Desc.at.flags, flags, true);
    dv.setUint16(at + Desc.at.next, next, true);
  }

  /** Makes a request available, without a kick. @returns its head, -1 when the queue is full */
  add(pieces: readonly Piece[], indirect = false): number {
    const needed = indirect ? 1 : pieces.length;
    if (this.#free.length < needed) return -1;
    const links = Array.from({ length: needed }, () => this.#free.pop() as number);
    const head = links[0] as number;
    const flags = (piece: Piece, isLast: boolean): number =>
      (piece.writable ? DescFlag.WRITE : 0) | (isLast ? 0 : DescFlag.NEXT);
    if (indirect) {
      const table = this.ram.allocate(pieces.length * Desc.size, 16);
      for (const [i, piece] of pieces.entries())
        this.writeDesc(table + i * Desc.size, piece.address, piece.bytes, flags(piece, i === pieces.length - 1), i + 1);
      this.writeDesc(this.desc + head * Desc.size, table, pieces.length * Desc.size, DescFlag.INDIRECT);
    } else
      for (const [i, piece] of pieces.entries())
        this.writeDesc(
          this.desc + (links[i] as number) * Desc.size,
          piece.address,
          piece.bytes,
          flags(piece, i === pieces.length - 1),
          links[i + 1] ?? 0,
        );
    this.#links.set(head, links);
    this.makeAvailable(head);
    return head;
  }

  /** Puts a head into the available ring, whatever it is. */
  makeAvailable(head: number): void {
    this.#avail16[2 + (this.#availIndex & (this.size - 1))] = head;
    this.#availIndex = (this.#availIndex + 1) & 0xffff;
    Atomics.store(this.#avail16, 1, this.#availIndex);
  }

  /** Kicks if the device wants it, for the last `added` requests. */
  kick(added = 1): void {
    const wanted = this.eventIdx
      ? needEvent(
          Atomics.load(this.#used16, availEventAt(this.size) / 2),
          this.#availIndex,
          (this.#availIndex - added) & 0xffff,
        )
      : (Atomics.load(this.#used16, 0) & 1) === 0;
    if (!wanted) return;
    this.kicks++;
    signalEvent(this.kickFd);
  }

  /** The next completed request, or null. */
  take(): { head: number; bytes: number } | null {
    if (Atomics.load(this.#used16, 1) === this.#usedIndex) return null;
    const at = this.used + 4 + (this.#usedIndex & (this.size - 1)) * 8;
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    const head = this.ram.dv.getUint32(at, true);
    const links = this.#links.get(head);
    if (links === undefined) throw new Error(`the device completed ${head}, which was not in flight`);
    this.#links.delete(head);
    this.#free.push(...links);
    return { head, bytes: this.ram.dv.getUint32(at + 4, true) };
  }

  get outstanding(): number {
    return this.#links.size;
  }
  get usedIndex(): number {
    return this.#usedIndex;
  }

  /** Waits for the next completed request. @throws Error when none comes in time */
  async next(timeoutMs = 5000): Promise<{ head: number; bytes: number }> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      if (this.eventIdx) Atomics.store(this.#avail16, usedEventAt(this.size) / 2, this.#usedIndex);
      const taken = this.take();
      if (taken !== null) return taken;
      const poll = new PollSet(1);
      poll.add(this.callFd, POLLIN);
      await poll.waitAsync(Math.max(0, end - performance.now()));
      if (takeEvent(this.callFd)) this.calls++;
      else if (performance.now() >= end) throw new Error("no request was completed in time");
    }
  }

  close(): void {
    closeSync(this.kickFd);
    closeSync(this.callFd);
  }
}
