import { mapShared, memfd, unmapShared, viewMemory } from "../sys/index.ts";

/**
 * What is in the device's window, and what was asked of the front-end and not answered yet. It lies in a memfd: all workers
 * see it, the control plane sees it, and it outlives a worker process. Whoever holds the channel's lock writes it.
 *
 * ```
 *  0     pending count │ records ever used │ dead │ owner │ marks sent │ marks answered      (i32 each)
 *  64    pending requests, in the order of their answers: kind, record, shmOffset, bytes (f64 each)
 *  4096  records: state, shmOffset, bytes, fdOffset, dev, ino, writable (f64 each, 64 bytes a record)
 * ```
 */
const PENDING_AT = 64 / 8;
const PENDING_FIELDS = 4;
const RECORDS_AT = 4096 / 8;
const RECORD_FIELDS = 8;
/** Requests that may be unanswered: an operation and its barrier, left by one that was interrupted. */
export const MAX_PENDING = 8;
/** Mappings in a window: one every 2 MiB in 16 GiB. QEMU itself slows down long before. */
export const MAX_MAPPINGS = 8192;
export const WINDOW_STATE_BYTES = 4096 + MAX_MAPPINGS * RECORD_FIELDS * 8;

/** What a pending request is. */
export const PENDING = { MAP: 1, UNMAP: 2, BARRIER: 3, TRANSFER: 4 } as const;
/** State of a record. ASKED: the front-end has been asked to map it, and has not answered. */
export const RECORD = { FREE: 0, ASKED: 1, LIVE: 2 } as const;

const F = { state: 0, shmOffset: 1, bytes: 2, fdOffset: 3, dev: 4, ino: 5, writable: 6 } as const;

/** A file's range in the window. */
export interface MappingRecord {
  readonly shmOffset: number;
  readonly bytes: number;
  readonly fdOffset: number;
  readonly dev: number;
  readonly ino: number;
  readonly writable: boolean;
}

/** A memfd for a WindowState. */
export function windowStateFd(): number {
  return memfd("window-state", WINDOW_STATE_BYTES);
}

export class WindowState {
  readonly #address: number;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;

  constructor(stateFd: number) {
    this.#address = mapShared(stateFd, 0, WINDOW_STATE_BYTES);
    const memory = viewMemory(this.#address, WINDOW_STATE_BYTES);
    this.#i32 = new Int32Array(memory, 0, 16);
    this.#f64 = new Float64Array(memory);
  }

  close(): void {
    unmapShared(this.#address, WINDOW_STATE_BYTES);
  }

  /** The front-end has dropped all mappings. Requests that it has not answered stay pending, their records do not. */
  forgetMappings(): void {
    for (let record = 0; record < this.records; record++) this.free(record);
    for (let i = 0; i < this.pending; i++) this.#f64[PENDING_AT + i * PENDING_FIELDS + 1] = -1;
    this.#i32[1] = 0;
  }

  /** A new front-end, a new channel: nothing is left of the old one. */
  clear(): void {
    this.forgetMappings();
    this.#i32.fill(0);
  }

  /** The process whose workers use the channel; 0 for none yet. Another one finds what its predecessor left. */
  get owner(): number {
    return this.#i32[3] as number;
  }
  setOwner(owner: number): void {
    this.#i32[3] = owner;
  }

  /** Marks by which answers to a predecessor's requests are told from ours: how many were sent, and answered. */
  get marksOpen(): number {
    return (this.#i32[4] as number) - (this.#i32[5] as number);
  }
  markSent(): void {
    this.#i32[4] = (this.#i32[4] as number) + 1;
  }
  allMarksAnswered(): void {
    this.#i32[5] = this.#i32[4] as number;
  }
  markAnswered(): void {
    this.#i32[5] = (this.#i32[5] as number) + 1;
  }

  /** The channel gave an answer that makes no sense: what follows makes none either. */
  get isDead(): boolean {
    return this.#i32[2] !== 0;
  }
  setDead(): void {
    this.#i32[2] = 1;
  }

  get pending(): number {
    return this.#i32[0] as number;
  }
  addPending(kind: number, record: number, shmOffset: number, bytes: number): void {
    const at = PENDING_AT + this.pending * PENDING_FIELDS;
    this.#f64[at] = kind;
    this.#f64[at + 1] = record;
    this.#f64[at + 2] = shmOffset;
    this.#f64[at + 3] = bytes;
    this.#i32[0] = this.pending + 1;
  }
  pendingKind(): number {
    return this.#f64[PENDING_AT] as number;
  }
  pendingRecord(): number {
    return this.#f64[PENDING_AT + 1] as number;
  }
  pendingShmOffset(): number {
    return this.#f64[PENDING_AT + 2] as number;
  }
  pendingBytes(): number {
    return this.#f64[PENDING_AT + 3] as number;
  }
  /** Whether a pending request is about that record. */
  isPending(record: number): boolean {
    for (let i = 0; i < this.pending; i++) if (this.#f64[PENDING_AT + i * PENDING_FIELDS + 1] === record) return true;
    return false;
  }
  /** Drops the first: it was answered. */
  dropPending(): void {
    const left = this.pending - 1;
    this.#f64.copyWithin(PENDING_AT, PENDING_AT + PENDING_FIELDS, PENDING_AT + (left + 1) * PENDING_FIELDS);
    this.#i32[0] = left;
  }

  /** Records that may be in use: those below. */
  get records(): number {
    return this.#i32[1] as number;
  }
  stateOf(record: number): number {
    return this.#field(record, F.state);
  }
  shmOffsetOf(record: number): number {
    return this.#field(record, F.shmOffset);
  }
  bytesOf(record: number): number {
    return this.#field(record, F.bytes);
  }

  /** The record that overlaps a range of the window, -1 for none. */
  findOverlap(shmOffset: number, bytes: number): number {
    const end = shmOffset + bytes;
    for (let record = 0; record < this.records; record++) {
      if (this.stateOf(record) === RECORD.FREE) continue;
      const start = this.shmOffsetOf(record);
      if (start < end && shmOffset < start + this.bytesOf(record)) return record;
    }
    return -1;
  }

  /** Whether a record is of just that mapping, or of one that allows more. */
  isSame(record: number, mapping: MappingRecord): boolean {
    return (
      this.shmOffsetOf(record) === mapping.shmOffset &&
      this.bytesOf(record) === mapping.bytes &&
      this.#field(record, F.fdOffset) === mapping.fdOffset &&
      this.#field(record, F.dev) === mapping.dev &&
      this.#field(record, F.ino) === mapping.ino &&
      (this.#field(record, F.writable) !== 0 || !mapping.writable)
    );
  }

  /** Enters a mapping that the front-end is about to be asked for. @returns its record, -1 when there is no room. */
  add(mapping: MappingRecord): number {
    let record = 0;
    while (record < this.records && this.stateOf(record) !== RECORD.FREE) record++;
    if (record === MAX_MAPPINGS) return -1;
    const at = RECORDS_AT + record * RECORD_FIELDS;
    this.#f64[at + F.shmOffset] = mapping.shmOffset;
    this.#f64[at + F.bytes] = mapping.bytes;
    this.#f64[at + F.fdOffset] = mapping.fdOffset;
    this.#f64[at + F.dev] = mapping.dev;
    this.#f64[at + F.ino] = mapping.ino;
    this.#f64[at + F.writable] = mapping.writable ? 1 : 0;
    this.#f64[at + F.state] = RECORD.ASKED;
    if (record === this.records) this.#i32[1] = record + 1;
    return record;
  }
  setLive(record: number): void {
    this.#f64[RECORDS_AT + record * RECORD_FIELDS + F.state] = RECORD.LIVE;
  }
  free(record: number): void {
    this.#f64[RECORDS_AT + record * RECORD_FIELDS + F.state] = RECORD.FREE;
  }

  /**
   * Where in the window `fdOffset` of a file is mapped, as offsets; more than one when the same range is mapped at several
   * places. By this the control plane knows the window's mappings when they turn up in the memory table.
   */
  placesOf(dev: number, ino: number, fdOffset: number): number[] {
    const places: number[] = [];
    for (let record = 0; record < this.records; record++) {
      if (this.stateOf(record) === RECORD.FREE) continue;
      if (this.#field(record, F.dev) !== dev || this.#field(record, F.ino) !== ino) continue;
      const skip = fdOffset - this.#field(record, F.fdOffset);
      if (skip >= 0 && skip < this.bytesOf(record)) places.push(this.shmOffsetOf(record) + skip);
    }
    return places;
  }

  #field(record: number, field: number): number {
    return this.#f64[RECORDS_AT + record * RECORD_FIELDS + field] as number;
  }
}
