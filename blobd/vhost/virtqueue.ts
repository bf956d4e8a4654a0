import {
  AVAIL_ALIGN,
  AVAIL_NO_INTERRUPT,
  availRingBytes,
  DESC_ALIGN,
  Desc,
  DescFlag,
  descTableBytes,
  isQueueSize,
  RING_ENTRIES,
  RING_FLAGS,
  RING_INDEX,
  USED_ALIGN,
  USED_NO_NOTIFY,
  usedRingBytes,
} from "../../formats/virtio/index.ts";
import { viewMemory } from "../sys/index.ts";
import { type Chain, MAX_SEGMENTS } from "./chain.ts";
import { type QueueStart, RESUME } from "./data-plane.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { InflightTracker } from "./inflight-tracker.ts";
import { QueueBroken } from "./queue-broken.ts";

const FLAGS = RING_FLAGS / 2;
const INDEX = RING_INDEX / 2;
const ENTRIES = RING_ENTRIES / 2;

/**
 * The device's side of a split virtqueue (drawn in formats/virtio/split-ring.ts), for one thread.
 *
 * Every value of the guest's is read once, checked, then used: it may change under our hands. The indexes go through
 * Atomics, which order them against the plain accesses around them; both sides' event fields pair with the other's index
 * (store mine, then load yours), for which Atomics are strong enough, being sequentially consistent.
 */
export class Virtqueue {
  readonly #memory: GuestMemory;
  readonly #size: number;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  readonly #desc: DataView;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #inflight: InflightTracker;
  /** Next entry of the available ring to take, and where its end was seen last. */
  #availIndex: number;
  #availEnd: number;
  #usedIndex: number;
  /** Requests of a predecessor that are to be taken first, from `#againAt` on. */
  #again: Uint16Array;
  #againAt = 0;

  /** @throws QueueBroken when the ring does not lie in guest memory as it must */
  constructor(start: QueueStart, memory: GuestMemory) {
    const { size } = start;
    if (!isQueueSize(size)) throw new QueueBroken(`a queue of ${size} descriptors`);
    const at = (address: number, bytes: number, align: number, part: string): ArrayBuffer => {
      const host = address % align === 0 ? memory.address(address, bytes) : -1;
      if (host < 0)
        throw new QueueBroken(`${part}: ${bytes} bytes at 0x${address.toString(16)} are not in guest memory`);
      return viewMemory(host, bytes);
    };
    this.#memory = memory;
    this.#size = size;
    this.#mask = size - 1;
    this.#eventIdx = start.eventIdx;
    this.#indirect = start.indirect;
    this.#desc = new DataView(at(start.descriptorAddress, descTableBytes(size), DESC_ALIGN, "descriptor table"));
    this.#avail = new Uint16Array(at(start.availableAddress, availRingBytes(size), AVAIL_ALIGN, "available ring"));
    const used = at(start.usedAddress, usedRingBytes(size), USED_ALIGN, "used ring");
    this.#used16 = new Uint16Array(used);
    this.#used32 = new Uint32Array(used, 0, (RING_ENTRIES + size * 8) / 4);
    this.#inflight = new InflightTracker(start);
    this.#usedIndex = Atomics.load(this.#used16, INDEX);
    this.#again = this.#inflight.recover(this.#usedIndex);
    const resumed = (this.#usedIndex + this.#again.length) & 0xffff;
    if (start.availIndex !== RESUME && start.availIndex !== resumed && this.#again.length > 0) {
      // The ring is not the one that these were taken from: the driver has begun anew.
      this.#inflight.clear(this.#usedIndex);
      this.#again = new Uint16Array(0);
    }
    this.#availIndex = start.availIndex === RESUME ? resumed : start.availIndex & 0xffff;
    this.#availEnd = this.#availIndex;
  }

  /** Next entry of the available ring that would be taken. */
  get availIndex(): number {
    return this.#availIndex;
  }

  /**
   * Takes the next request.
   * @returns false when there is none
   * @throws QueueBroken
   */
  pop(chain: Chain): boolean {
    if (this.#againAt < this.#again.length) return this.#popAgain(chain);
    const index = this.#availIndex;
    if (index === this.#availEnd && !this.#look()) return false;
    const head = this.#avail[ENTRIES + (index & this.#mask)] as number;
    if (head >= this.#size) throw new QueueBroken(`available ring: descriptor ${head} of ${this.#size}`);
    if (this.#inflight.has(head)) throw new QueueBroken(`available ring: descriptor ${head} is in use already`);
    this.#inflight.enter(head);
    this.#availIndex = (index + 1) & 0xffff;
    chain.isRepeated = false;
    this.read(head, chain);
    return true;
  }

  /** Puts back the request that was taken last, untouched. */
  putBack(chain: Chain): void {
    if (chain.isRepeated) {
      this.#againAt--;
      return;
    }
    this.#inflight.undo(chain.head);
    this.#availIndex = (this.#availIndex - 1) & 0xffff;
  }

  /**
   * Completes a request.
   * @returns whether the driver wants to be told
   */
  push(head: number, bytes: number): boolean {
    const old = this.#usedIndex;
    const at = 1 + 2 * (old & this.#mask);
    this.#used32[at] = head;
    this.#used32[at + 1] = bytes;
    this.#inflight.announce(head);
    this.#usedIndex = (old + 1) & 0xffff;
    Atomics.store(this.#used16, INDEX, this.#usedIndex);
    this.#inflight.strikeOut(head, this.#usedIndex);
    // Looked at after each request, so that "the index passed the event" is "the event is this entry".
    if (this.#eventIdx) return Atomics.load(this.#avail, ENTRIES + this.#size) === old;
    return (Atomics.load(this.#avail, FLAGS) & AVAIL_NO_INTERRUPT) === 0;
  }

  /** Whether a request is in our hands. */
  isTaken(head: number): boolean {
    return head < this.#size && this.#inflight.has(head);
  }

  /** Asks for a kick at the next request. @returns false when there is one already, and no kick may come for it */
  enableKicks(): boolean {
    if (this.#eventIdx) Atomics.store(this.#used16, ENTRIES + this.#size * 4, this.#availIndex);
    else Atomics.store(this.#used16, FLAGS, 0);
    return this.#againAt >= this.#again.length && Atomics.load(this.#avail, INDEX) === this.#availIndex;
  }

  /** Asks for no kicks while requests are taken anyway. With EVENT_IDX, none comes before the index passes the event. */
  disableKicks(): void {
    if (!this.#eventIdx) Atomics.store(this.#used16, FLAGS, USED_NO_NOTIFY);
  }

  /** Gives the memory back. The queue must not be used any more. */
  close(): void {
    this.#inflight.close();
  }

  /**
   * Reads a request's descriptors.
   * @throws QueueBroken
   */
  read(head: number, chain: Chain): void {
    const { readable, writable } = chain;
    chain.head = head;
    readable.clear();
    writable.clear();
    let table = this.#desc;
    let base = 0;
    let entries = this.#size;
    let index = head;
    for (let seen = 0; ; seen++) {
      if (seen === entries) throw new QueueBroken(`descriptor ${head}: its chain is a loop`);
      const at = base + index * Desc.size;
      const high = table.getUint32(at + 4, true);
      const address = high * 0x1_0000_0000 + table.getUint32(at, true);
      const length = table.getUint32(at + Desc.at.len, true);
      const flags = table.getUint16(at + Desc.at.flags, true);
      if (high > 0x1fffff) throw new QueueBroken(`descriptor ${head}: address 0x${high.toString(16)}<<32`);
      if ((flags & DescFlag.INDIRECT) !== 0) {
        if (!this.#indirect || table !== this.#desc || (flags & DescFlag.NEXT) !== 0)
          throw new QueueBroken(`descriptor ${head}: an indirect table where there may be none`);
        entries = length / Desc.size;
        if (!Number.isInteger(entries) || entries === 0 || entries > MAX_SEGMENTS)
          throw new QueueBroken(`descriptor ${head}: an indirect table of ${length} bytes`);
        const view = this.#memory.view(address, length);
        if (view === undefined) throw new QueueBroken(`descriptor ${head}: its indirect table is not in guest memory`);
        table = view;
        base = this.#memory.offsetIn(address);
        index = 0;
        seen = -1;
        continue;
      }
      if ((flags & DescFlag.WRITE) !== 0) this.#memory.append(writable, address, length);
      else if (writable.count === 0) this.#memory.append(readable, address, length);
      else throw new QueueBroken(`descriptor ${head}: a readable piece behind a writable one`);
      if ((flags & DescFlag.NEXT) === 0) return;
      index = table.getUint16(at + Desc.at.next, true);
      if (index >= entries) throw new QueueBroken(`descriptor ${head}: followed by ${index} of ${entries}`);
    }
  }

  /** Looks for new requests. */
  #look(): boolean {
    const end = Atomics.load(this.#avail, INDEX);
    const added = (end - this.#availIndex) & 0xffff;
    if (added > this.#size)
      throw new QueueBroken(
        `available ring: index ${end}, ${added} behind ${this.#availIndex} in a ring of ${this.#size}`,
      );
    this.#availEnd = end;
    return added > 0;
  }

  #popAgain(chain: Chain): boolean {
    const head = this.#again[this.#againAt++] as number;
    chain.isRepeated = true;
    this.read(head, chain);
    return true;
  }
}
