import { DescState, QUEUE_REGION_VERSION, QueueRegion } from "../../formats/vhost-user/index.ts";
import { mapShared, PAGE_SIZE, unmapShared, viewMemory } from "../sys/index.ts";
import type { QueueStart } from "./data-plane.ts";

/** A request's state in 8-, 16- and 32-bit units. */
const STATE_BYTES = DescState.size;
const FIRST = QueueRegion.size;
const NEXT = DescState.at.next / 2;
const COUNTER = DescState.at.counter / 4;

/**
 * One queue's part of the in-flight region (formats/vhost-user/inflight-region.ts): which requests are in this worker's
 * hands, written so that whoever comes after it knows, at whatever instruction it dies.
 */
export class InflightTracker {
  readonly #address: number;
  readonly #mappedBytes: number;
  readonly #size: number;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  #counter = 0;

  constructor({ inflight, size }: Pick<QueueStart, "inflight" | "size">) {
    const start = Math.floor(inflight.offset / PAGE_SIZE) * PAGE_SIZE;
    const skip = inflight.offset - start;
    this.#mappedBytes = skip + inflight.bytes;
    this.#address = mapShared(inflight.fd, start, this.#mappedBytes);
    this.#size = size;
    const memory = viewMemory(this.#address + skip, FIRST + size * STATE_BYTES);
    this.#u8 = new Uint8Array(memory);
    this.#u16 = new Uint16Array(memory);
    this.#u32 = new Uint32Array(memory);
  }

  /** Whether the request is in our hands already: a driver that makes a descriptor available twice is broken. */
  has(head: number): boolean {
    return this.#u8[FIRST + head * STATE_BYTES] !== 0;
  }

  /** The request was taken from the available ring. */
  enter(head: number): void {
    const at = FIRST + head * STATE_BYTES;
    const counter = this.#counter++;
    this.#u32[at / 4 + COUNTER] = counter >>> 0;
    this.#u32[at / 4 + COUNTER + 1] = (counter / 0x1_0000_0000) >>> 0;
    this.#u8[at] = 1;
  }

  /** The request is put into the used ring, whose index has not been moved yet. */
  announce(head: number): void {
    this.#u16[(FIRST + head * STATE_BYTES) / 2 + NEXT] = this.#u16[QueueRegion.at.lastBatchHead / 2] as number;
    this.#u16[QueueRegion.at.lastBatchHead / 2] = head;
  }

  /** The used ring's index has been moved to `usedIndex`. */
  strikeOut(head: number, usedIndex: number): void {
    this.#u8[FIRST + head * STATE_BYTES] = 0;
    this.#u16[QueueRegion.at.usedIdx / 2] = usedIndex;
  }

  /** The request was put back into the available ring. */
  undo(head: number): void {
    this.#u8[FIRST + head * STATE_BYTES] = 0;
  }

  /**
   * What a worker before this one had in its hands, in the order in which it had taken them.
   * @param usedIndex the used ring's index
   */
  recover(usedIndex: number): Uint16Array {
    const u16 = this.#u16;
    const isOurs =
      u16[QueueRegion.at.version / 2] === QUEUE_REGION_VERSION && u16[QueueRegion.at.descNum / 2] === this.#size;
    if (!isOurs) {
      this.clear(usedIndex);
      return new Uint16Array(0);
    }
    this.#finishLastBatch(usedIndex);
    const heads: number[] = [];
    for (let head = 0; head < this.#size; head++) if (this.has(head)) heads.push(head);
    const order = new Map(heads.map((head) => [head, this.#counterOf(head)]));
    heads.sort((a, b) => (order.get(a) as number) - (order.get(b) as number));
    const last = heads.at(-1);
    this.#counter = last === undefined ? 0 : this.#counterOf(last) + 1;
    return Uint16Array.from(heads);
  }

  /** Forgets all. */
  clear(usedIndex: number): void {
    this.#u8.fill(0);
    this.#u16[QueueRegion.at.descNum / 2] = this.#size;
    this.#u16[QueueRegion.at.usedIdx / 2] = usedIndex;
    this.#u16[QueueRegion.at.version / 2] = QUEUE_REGION_VERSION;
    this.#counter = 0;
  }

  /** Nothing of it may be used any more. */
  close(): void {
    unmapShared(this.#address, this.#mappedBytes);
  }

  /** The predecessor died between moving the used index and striking out. */
  #finishLastBatch(usedIndex: number): void {
    const batch = (usedIndex - (this.#u16[QueueRegion.at.usedIdx / 2] as number)) & 0xffff;
    let head = this.#u16[QueueRegion.at.lastBatchHead / 2] as number;
    // A batch longer than the queue, or a list that leaves it, is not what a back-end left: nothing is struck out then.
    for (let i = 0; i < batch && batch <= this.#size && head < this.#size; i++) {
      this.#u8[FIRST + head * STATE_BYTES] = 0;
      head = this.#u16[(FIRST + head * STATE_BYTES) / 2 + NEXT] as number;
    }
    this.#u16[QueueRegion.at.usedIdx / 2] = usedIndex;
  }

  #counterOf(head: number): number {
    const at = (FIRST + head * STATE_BYTES) / 4 + COUNTER;
    return ((this.#u32[at + 1] as number) & 0x1fffff) * 0x1_0000_0000 + (this.#u32[at] as number);
  }
}
